"""``dsadapter doctor``: what this machine and this interpreter can do, and would do."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from dsadapter.cli.console import Console
from dsadapter.cli.errors import CommandError
from dsadapter.command_lines import joined
from dsadapter.messages import did_you_mean, quoted

if TYPE_CHECKING:
    from dsadapter.doctor import AskedPort

_DIGITS = 5
_MOST_PORTS = 20
_EPILOG = """\
Nothing is changed, nothing is sent but over loopback, and a port that is asked about is never
bound, not even for a moment.

exit status: 0 all will work, be it with advice (--strict: 1), 1 a problem with what was asked
for, 2 the command failed or could not tell
"""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "doctor",
        help="say what this machine can do, who holds a port, and what to do about it",
        usage="dsadapter doctor [OPTIONS] [PORT ...] [-- PROGRAM [ARGUMENT ...]]",
        description="Say what this machine and this Python can do, who holds a port, and what a "
        "dual-stack listener on it would do.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "ports",
        nargs="*",
        metavar="PORT",
        type=_port,
        help="a port to ask about: 8080, 53/udp",
    )
    parser.add_argument(
        "--program",
        metavar="COMMAND",
        help="a command line, in one word: how it would fare under 'dsadapter run'; as after --",
    )
    parser.add_argument(
        "--only", type=_ids, default=[], metavar="ID,...", help="make these checks alone"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show all that is known")
    parser.add_argument("--json", action="store_true", help="write JSON, for programs")
    parser.add_argument("--strict", action="store_true", help="exit with 1 for advice, too")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Examine and report."""
    from dsadapter.doctor import Question
    from dsadapter.doctor.whole import examine, status_of

    asked = tuple(dict.fromkeys(options.ports))
    if len(asked) > _MOST_PORTS:
        raise CommandError(f"{len(asked)} ports are too many; name at most {_MOST_PORTS} at a time")
    question = Question(asked, _program(options))
    rows = list(examine(question, options.only))
    status = status_of(rows, strict=options.strict)
    if options.json:
        from dsadapter.doctor.json_report import json_text

        sys.stdout.write(json_text(rows, question, status) + "\n")
    else:
        from dsadapter.doctor.text_report import write_text

        write_text(rows, Console().line, verbose=options.verbose)
    return status


def with_program(words: list[str]) -> list[str]:
    """Words as the parser takes them: what follows ``--`` as one word of ``--program``."""
    if words[:1] != ["doctor"] or "--" not in words:
        return words
    end = words.index("--")
    return [*words[:end], f"--program={joined(words[end + 1 :])}"]


def _program(options: argparse.Namespace) -> tuple[str, ...]:
    if options.program is None:
        return ()
    try:
        words = _split(options.program)
    except ValueError as error:
        raise CommandError(f"--program {quoted(options.program)}: {error}") from None
    if not words:
        raise CommandError("name a program: dsadapter doctor -- PROGRAM [ARGUMENT ...]")
    return tuple(words)


def _split(line: str) -> list[str]:
    if os.name == "nt":
        # A backslash is part of a path there.
        from dsadapter.launcher.windows_programs import split_command_line

        return split_command_line(line)
    import shlex

    return shlex.split(line)


def _ids(text: str) -> list[str]:
    from dsadapter.doctor.whole import ids

    names = text.split(",")
    for name in names:
        if name not in ids():
            near = did_you_mean(name, ids())
            raise argparse.ArgumentTypeError(
                f"there is no check {quoted(name)}{near}; there are {', '.join(ids())}"
            )
    return names


def _port(text: str) -> AskedPort:
    from dsadapter.doctor import AskedPort

    number, _, protocol = text.partition("/")
    digits = number.isascii() and number.isdigit() and len(number) <= _DIGITS
    if not digits or not 0 < int(number) < 65536 or protocol not in ("", "tcp", "udp"):
        raise argparse.ArgumentTypeError(
            f"{quoted(text)} is no port; write a number of 1 to 65535, as in 8080 or 53/udp"
        )
    if "/" not in text:
        return AskedPort(int(number))
    if not protocol:
        raise argparse.ArgumentTypeError(f"{quoted(text)} names no protocol; write {number}/udp")
    return AskedPort(int(number), "udp" if protocol == "udp" else "tcp")
