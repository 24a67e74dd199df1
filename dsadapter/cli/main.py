"""``dsadapter COMMAND``: the one parser, and how every command fails."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from dsadapter import __version__
from dsadapter.cli import migrate, run, scan
from dsadapter.cli.errors import CommandError

_COMMANDS = (run, scan, migrate)
# The command itself failed; 0 is nothing found, 1 something found.
FAILED = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    :returns: the exit status: 0, 1 if a command has something to report, 2 if it failed.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except CommandError as error:
        print(f"dsadapter {options.command}: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # The reader, such as head, has seen enough. Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return 130
    return status


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command in it."""
    parser = argparse.ArgumentParser(
        prog="dsadapter", description="Dual-stack sockets for existing Python programs."
    )
    parser.add_argument("--version", action="version", version=f"dsadapter {__version__}")
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=("bash", "zsh", "tcsh"),
        help="print a completion script for a shell, and exit",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser


class _PrintCompletion(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> NoReturn:
        try:
            import shtab
        except ImportError:
            parser.exit(FAILED, "dsadapter: completion needs shtab: pip install 'dsadapter[cli]'\n")
        print(shtab.complete(parser, shell=str(values)))
        parser.exit()
