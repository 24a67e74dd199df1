"""Options that scan and migrate share, and the scan itself."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from dsadapter.cli.console import progress
from dsadapter.cli.errors import CommandError

if TYPE_CHECKING:
    from pathlib import Path

    from dsadapter.migration.scanning import Report, Scanner


def add_paths(parser: argparse.ArgumentParser) -> None:
    """Add the paths, and whether tests are looked at."""
    parser.add_argument("paths", nargs="*", metavar="PATH", type=_path, help="files and folders")
    parser.add_argument(
        "--with-tests",
        action="store_true",
        help="look at tests and at copies of other projects too",
    )


def make_scanner() -> Scanner:
    """The scanner with its rules, those of installed plugins included.

    :raises CommandError: if a plugin is broken.
    """
    from dsadapter.migration.rules import BUILT_IN
    from dsadapter.migration.rules.contributed import InvalidRuleError, contributed_rules
    from dsadapter.migration.scanning import Scanner

    try:
        return Scanner([*BUILT_IN, *contributed_rules()])
    except InvalidRuleError as error:
        raise CommandError(str(error)) from error


def scanned(scanner: Scanner, options: argparse.Namespace) -> Report:
    """Scan the paths that were named.

    :raises CommandError: if one is not there.
    """
    with progress("scanning") as show:
        try:
            return scanner.scan(options.paths, everything=options.with_tests, progress=show)
        except FileNotFoundError as error:
            raise CommandError(
                f"there is no file or folder {str(error)!r}; name one that exists"
            ) from None
        except OSError as error:
            raise CommandError(f"can't look at {error.filename!r}: {error.strerror}") from None


def _path(text: str) -> Path:
    # Every command has this module, and few name files.
    from pathlib import Path

    return Path(text)
