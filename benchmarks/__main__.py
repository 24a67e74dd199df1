"""``python -m benchmarks``: every table, or the parts that are named."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from time import monotonic

from benchmarks import (
    accept,
    address_sets,
    addressing,
    canonical,
    connect,
    coroutines,
    datagrams,
    guard,
    imports,
    launched,
    loop_connect,
    loop_datagrams,
    loops,
    middleware,
    proxy_headers,
    ready,
    scan,
    streams,
    tls,
)
from benchmarks.report import TERMS, Report

_PARTS = {
    "accept": accept.tables,
    "address-sets": address_sets.tables,
    "addressing": addressing.tables,
    "canonical": canonical.tables,
    "connect": connect.tables,
    "coroutines": coroutines.tables,
    "datagrams": datagrams.tables,
    "guard": guard.tables,
    "imports": imports.tables,
    "loop-connect": loop_connect.tables,
    "loop-datagrams": loop_datagrams.tables,
    "launched": launched.tables,
    "loops": loops.tables,
    "middleware": middleware.tables,
    "proxy-headers": proxy_headers.tables,
    "ready-sockets": ready.tables,
    "scan": scan.tables,
    "streams": streams.tables,
    "tls": tls.tables,
}
_PEERS = {
    "address-sets": address_sets.PACKAGES,
    "connect": connect.PACKAGES,
    "coroutines": coroutines.PACKAGES,
    "loop-connect": loop_connect.PACKAGES,
    "loop-datagrams": loop_datagrams.PACKAGES,
    "launched": launched.PACKAGES,
    "loops": loops.PACKAGES,
    "ready-sockets": ready.PACKAGES,
}
_PACKAGES = ("Twisted", "dsadapter")


def main() -> None:
    options = _options()
    # Before anything is measured: it says what is wrong with the page.
    report = Report(options.report, list(_PARTS)) if options.report else None
    parts = options.parts or _PARTS
    peers = [name for part in parts for name in _PEERS.get(part, ())]
    environment = _environment([*_PACKAGES, *peers])
    if not options.json:
        print(f"{', '.join(environment)}\n\n{TERMS.replace('*', '')}", flush=True)
    results = []
    for part in parts:
        start = monotonic()
        tables = []
        for table in _PARTS[part](options.rounds):
            tables.append(table)
            if not options.json:
                print(
                    f"\n{table.markdown() if options.markdown else table.text()}",
                    end="",
                    flush=True,
                )
        seconds = monotonic() - start
        results += [table.data() for table in tables]
        if not options.json:
            print(f"\n{part} took {seconds:.0f} s", flush=True)
        if report is not None:
            packages = [*_PACKAGES, *_PEERS.get(part, ())]
            report.add(part, _environment(packages), seconds, tables)
    if options.json:
        print(json.dumps({"environment": environment, "tables": results}, indent=2))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    # Without arguments argparse looks for the empty list among the choices.
    parser.add_argument(
        "parts", nargs="*", choices=[*_PARTS, []], metavar="PART", help=", ".join(_PARTS)
    )
    parser.add_argument(
        "--rounds", type=_positive, help="how many rounds to keep; else as many as each part needs"
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="PAGE",
        help="write the blocks of a Markdown page anew, and draw its plots (docs/benchmarks.md)",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object")
    form.add_argument("--markdown", action="store_true", help="print Markdown tables")
    return parser.parse_args()


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def _environment(packages: Iterable[str]) -> list[str]:
    return [
        f"{os.cpu_count()} CPUs",
        platform.system(),
        f"{platform.python_implementation()} {platform.python_version()}",
        *(f"{name} {version(name)}" for name in packages),
    ]


if __name__ == "__main__":
    main()
