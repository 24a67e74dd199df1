"""The options of ``dsadapter run``."""

from __future__ import annotations

import argparse
import os
from typing import Any

from dsadapter.cli.errors import CommandError
from dsadapter.launcher.report import NEVER_WAITS
from dsadapter.launcher.settings import Settings

_EPILOG = """\
The program is found on PATH, in this environment, or as a file; Python's own options, such as -m,
run Python. It replaces this command: process id, arguments, exit status and signals are its own.

Firewall rules for IPv6 alone don't cover a port that serves IPv4, too.
"""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "run",
        allow_abbrev=False,
        help="start a program so that its IPv6 listeners serve IPv4, too, as IPv4",
        usage="dsadapter run [OPTIONS] -- PROGRAM [ARGUMENT ...]",
        description="Start a Python program, unchanged, so that each listener on :: serves IPv4 "
        "and IPv6, and IPv4 peers are shown as IPv4.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", type=ports, metavar="PORT,...", help="widen listeners on these ports alone"
    )
    parser.add_argument(
        "--except",
        dest="excepted",
        type=ports,
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
        help="make 0.0.0.0 and :: of one port one socket where one accept loop is behind both",
    )
    parser.add_argument(
        "--reuse-port",
        action="store_true",
        help="have listeners share their port (SO_REUSEPORT), for dsadapter cutover",
    )
    parser.add_argument(
        "--explain",
        nargs="?",
        const="",
        metavar="FILE",
        help="list each listener and what was done with it, when a process ends; in a file, as "
        "JSON, at every change (--explain=FILE)",
    )
    parser.add_argument(
        "--guard",
        choices=["log"],
        help="count mapped addresses that arrive, or are handed to what can't take them, by source "
        "line, and list them when a process ends",
    )
    parser.add_argument(
        "--guard-report",
        metavar="FILE",
        help="list them in a file as they come, as JSON",
    )
    parser.add_argument("program", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Start the program with the options."""
    from dsadapter.cli.run import start

    words: list[str] = options.program
    return start(
        words[1:] if words[:1] == ["--"] else words,
        Settings(
            only=options.only,
            excepted=options.excepted,
            widen=options.widen,
            merge_pairs=options.merge_pairs,
            reuse_port=options.reuse_port,
            explain=options.explain == "",
            file=_emptied(options.explain) if options.explain else None,
            guard=options.guard is not None,
            guard_report=_emptied(options.guard_report) if options.guard_report else None,
        ),
    )


def ports(text: str) -> list[int]:
    """The numbers of a list of ports.

    :raises argparse.ArgumentTypeError: for what is none.
    """
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = [0]
    if not all(0 < port < 65536 for port in found):
        raise argparse.ArgumentTypeError(f"{text!r} is not PORT,PORT,... of 1 to 65535")
    return found


def _emptied(name: str) -> str:
    """The absolute path of a file, which is empty from now on."""
    path = os.path.abspath(name)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | NEVER_WAITS, 0o666))
    except OSError as error:
        raise CommandError(f"{name} can't be written: {error.strerror}") from None
    return path
