"""``dsadapter migrate``: rewrite what a scan is certain of."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from dsadapter import __version__
from dsadapter.cli.console import Console
from dsadapter.cli.errors import CommandError
from dsadapter.cli.selection import add_paths, make_scanner, scanned
from dsadapter.command_lines import extra

if TYPE_CHECKING:
    from dsadapter.migration.migrating import Rewrite

_EPILOG = """\
Shows a diff and writes nothing, unless --write is given. A file is changed as a whole or not at
all: it is left if one part of its change is unsure.

exit status: 0 nothing to change, 1 something changed or would be, 2 the command failed
"""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "migrate",
        help="rewrite two-socket servers to dual-stack ones",
        description="Rewrite two-socket servers to dual-stack ones, where that is sure.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_paths(parser)
    parser.add_argument("--write", action="store_true", help="change the files")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Scan, rewrite, and show or write."""
    from dsadapter.migration.findings import Certainty
    from dsadapter.migration.migrating import rewrites

    scanner = make_scanner()
    report = scanned(scanner, options)
    try:
        found = rewrites(scanner, report)
    except ImportError as error:
        raise CommandError(
            f"rewriting needs {error.name or 'LibCST'}: {extra('migrate')}"
        ) from None
    console = Console()
    failed = bool(report.failures)
    for failure in report.failures:
        _note(f"{failure.path}:{failure.line}: {failure.reason}")
    written: list[Rewrite] = []
    for rewrite in found:
        console.diff(rewrite.diff())
        if rewrite.problem:
            failed = True
            _note(f"{rewrite.path} is left: {rewrite.problem}")
        for module in rewrite.missing:
            _note(
                f"{rewrite.path} is shown, not written: {module} is not in dsadapter {__version__}"
            )
        if rewrite.writable:
            if options.write:
                _write(rewrite)
            written.append(rewrite)
    unsure = report.count(Certainty.LIKELY)
    if unsure:
        _note(f"{unsure} findings need a decision: dsadapter scan shows them")
    if written:
        files = f"{len(written)} file{'s' * (len(written) != 1)}"
        _note(f"{files} {'changed' if options.write else 'would change: --write changes them'}")
        major, minor, *_ = __version__.split(".")
        _note(f"add to the project's dependencies: dsadapter>={major}.{minor}")
    if failed:
        return 2
    return 1 if found else 0


def _write(rewrite: Rewrite) -> None:
    from dsadapter.migration.rewriting.files import replace_file

    try:
        replace_file(rewrite.path, rewrite.after)
    except OSError as error:
        raise CommandError(
            f"can't write {rewrite.path}: {error.strerror}; it is as it was, so fix that and run"
            " the command again"
        ) from error


def _note(text: str) -> None:
    """What is no part of the diff goes to the error output, so that the diff can be applied."""
    Console(sys.stderr).line(text)
