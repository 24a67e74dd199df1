"""The one parser, of every command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from dsadapter import __version__
from dsadapter.cli import migrate, run_parser, scan
from dsadapter.cli.errors import FAILED

_COMMANDS = (run_parser, scan, migrate)


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
