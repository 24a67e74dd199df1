"""``dsadapter run``: start a program so that its listeners serve both families."""

from __future__ import annotations

import argparse
import errno
import os
import shlex
import sys
from typing import Any

from dsadapter.cli.errors import CommandError

_EPILOG = """\
The program is found on PATH, in this environment, or as a file; Python's own options, such as -m,
run Python. It replaces this command: process id, arguments, exit status and signals are its own.

Firewall rules for IPv6 alone don't cover a port that serves IPv4, too.
"""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "run",
        help="start a program so that its IPv6 listeners serve IPv4, too, as IPv4",
        usage="dsadapter run [OPTIONS] -- PROGRAM [ARGUMENT ...]",
        description="Start a Python program, unchanged, so that each listener on :: serves IPv4 "
        "and IPv6, and IPv4 peers are shown as IPv4.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", type=_ports, metavar="PORT,...", help="widen listeners on these ports alone"
    )
    parser.add_argument(
        "--except",
        dest="excepted",
        type=_ports,
        default=[],
        metavar="PORT,...",
        help="leave listeners on these ports as the program makes them",
    )
    parser.add_argument(
        "--widen", action="store_true", help="make listeners on 0.0.0.0 dual-stack, too"
    )
    parser.add_argument(
        "--merge-pairs",
        action="store_true",
        help="make a pair of listeners with one accept loop one socket",
    )
    parser.add_argument(
        "--explain",
        nargs="?",
        const="",
        metavar="FILE",
        help="list each listener and what was done with it, when a process ends; in a file, as "
        "JSON, at every change (--explain=FILE)",
    )
    parser.add_argument("program", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check, say what is covered, and become the program."""
    from dsadapter.launcher.folder import foreign_files, writable_by_others
    from dsadapter.launcher.program import UnknownProgramError, resolve
    from dsadapter.launcher.settings import FOLDER, Settings

    words: list[str] = options.program
    if words[:1] == ["--"]:
        del words[0]
    if not words:
        raise CommandError("name a program: dsadapter run -- PROGRAM [ARGUMENT ...]")
    if place := writable_by_others():
        raise CommandError(
            f"others can write to {place}, and so run code in the program; type: "
            f"chmod go-w {shlex.quote(place)}"
        )
    if foreign := foreign_files():
        raise CommandError(f"{foreign[0]!r} doesn't belong in {FOLDER}; remove it")
    try:
        program = resolve(words)
    except UnknownProgramError as error:
        raise CommandError(str(error)) from None
    given = _given(options)
    if program.kept_out:
        raise CommandError(
            f"{program.reason}, and so keeps dsadapter out of {words[0]}; type: "
            f"{_line('dsadapter', given, program.without_options())}"
        )
    if (prefix := program.elsewhere()) is not None:
        assert program.python is not None
        command = os.path.join(os.path.dirname(os.path.abspath(program.python)), "dsadapter")
        line = _line(command, given, [program.path, *program.argv[1:]])
        install = _joined([program.python, "-m", "pip", "install", "dsadapter"])
        first = "" if os.path.exists(command) else f"{install} && "
        raise CommandError(
            f"{words[0]} runs by the Python of {prefix}, and this is the one of {sys.prefix}; "
            f"type: {first}{line}"
        )
    settings = Settings(
        only=options.only,
        excepted=options.excepted,
        widen=options.widen,
        merge_pairs=options.merge_pairs,
        explain=options.explain == "",
        file=_emptied(options.explain) if options.explain else None,
    )
    print(f"dsadapter run: {_start_line(settings, words[0], program.python)}", file=sys.stderr)
    environment = dict(os.environ)
    settings.export(environment)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(program.path, program.argv, environment)
    except OSError as error:
        remedy = (
            "; it has no first line that names its interpreter"
            if error.errno == errno.ENOEXEC
            else ""
        )
        raise CommandError(f"{program.path} can't be run: {error.strerror}{remedy}") from None


def _start_line(settings: Any, name: str, python: str | None) -> str:
    if python is None:
        return (
            f"{name} is no Python program: only Python programs of {sys.prefix} that it starts are "
            f"covered; where a server accepts in another language, wrap its application"
        )
    which = "each listener on ::"
    if settings.only is not None:
        which += f" with port {_numbers(settings.only)}"
    if settings.excepted:
        which += f" but {_numbers(settings.excepted)}"
    if settings.widen:
        which += ", or on 0.0.0.0,"
    return (
        f"{name} shows IPv4 peers as IPv4, and {which} serves IPv4 and IPv6; firewall rules for "
        f"one family don't cover that"
    )


def _numbers(ports: Any) -> str:
    return ",".join(map(str, sorted(ports)))


def _given(options: argparse.Namespace) -> list[str]:
    """The options, as they were typed."""
    given = []
    if options.only is not None:
        given.append(f"--only={_numbers(options.only)}")
    if options.excepted:
        given.append(f"--except={_numbers(options.excepted)}")
    given += ["--widen"] * options.widen + ["--merge-pairs"] * options.merge_pairs
    if options.explain is not None:
        given.append(f"--explain={options.explain}" if options.explain else "--explain")
    return given


def _line(command: str, given: list[str], words: list[str]) -> str:
    return _joined([command, "run", *given, "--", *words])


def _joined(words: list[str]) -> str:
    return " ".join(map(shlex.quote, words))


def _ports(text: str) -> list[int]:
    try:
        ports = [int(part) for part in text.split(",")]
    except ValueError:
        ports = [0]
    if not all(0 < port < 65536 for port in ports):
        raise argparse.ArgumentTypeError(f"{text!r} is not PORT,PORT,... of 1 to 65535")
    return ports


def _emptied(name: str) -> str:
    """The absolute path of a file, which is empty from now on."""
    path = os.path.abspath(name)
    try:
        with open(path, "w", encoding="utf-8"):
            pass
    except OSError as error:
        raise CommandError(f"{name} can't be written: {error.strerror}") from None
    return path
