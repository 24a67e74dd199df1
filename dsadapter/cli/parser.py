"""The one parser, of every command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from dsadapter import __version__
from dsadapter.cli import cutover, doctor, migrate, run_parser, scan
from dsadapter.cli.errors import FAILED
from dsadapter.command_lines import extra

_COMMANDS = (run_parser, doctor, scan, migrate, cutover)


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
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=_CommandParser
    )
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser


class _CommandParser(argparse.ArgumentParser):
    """What it doesn't know is its own error, with its own usage, and not the whole parser's."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        words = None if args is None else self._settled([*args])
        found, unknown = super().parse_known_args(words, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def _settled(self, words: list[str]) -> list[str]:
        """An option whose value may be left out takes it after = alone: what follows may be a
        program, and no file to write to."""
        known = {name: action for action in self._actions for name in action.option_strings}
        index = 0
        while index < len(words) and words[index].startswith("-") and words[index] != "--":
            action = known.get(words[index])
            if action is not None and action.nargs == "?":
                words[index] += f"={action.const}"
            index += 1 if action is None or action.nargs in (0, "?") else 2
        return words


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """The options of a command line."""
    return build_parser().parse_args(doctor.with_program([*words]))


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
            parser.exit(FAILED, f"dsadapter: completion needs shtab: {extra('cli')}\n")
        print(shtab.complete(parser, shell=str(values)))
        parser.exit()
