"""``dsadapter scan``: find two-socket servers and code that mapped addresses leak into."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from dsadapter.cli.console import Console
from dsadapter.cli.selection import add_paths, make_scanner, scanned

_EPILOG = """\
A finding is certain ('dsadapter migrate' rewrites it), likely, or only possible (--all shows
those). '# dsadapter: ignore[P3]' on its line silences it.

exit status: 0 nothing found, 1 something found, 2 the scan failed, or
found nothing and could not read all
"""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "scan",
        help="find two-socket servers, and code that handles mapped addresses",
        description="Find two-socket servers, and code that handles mapped addresses.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_paths(parser)
    parser.add_argument("--all", action="store_true", help="show what is only possible, too")
    parser.add_argument(
        "--format",
        choices=("text", "json", "sarif"),
        default="text",
        help="for people (the default), or JSON, or SARIF 2.1.0 for code hosts",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Scan and report."""
    from dsadapter.migration.reports import json_report, sarif_report, text_report

    scanner = make_scanner()
    report = scanned(scanner, options)
    if options.format == "text":
        text_report(report, Console().line, possible=options.all)
    else:
        make = json_report if options.format == "json" else sarif_report
        sys.stdout.write(make(report, possible=options.all) + "\n")
    if any(True for _ in report.shown(possible=options.all)):
        return 1
    return 2 if report.failures else 0
