"""Rows for people: a mark, a name, one fact, and what to type about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dsadapter.doctor.findings import Row

_STYLES = {"ok": "green", "advice": "yellow", "problem": "bold red"}
_INDENT = " " * 8
_WIDEST = 36


def write_text(rows: Sequence[Row], line: Callable[..., Any], *, verbose: bool) -> None:
    """Write the table and its summary.

    :param line: takes the parts of a line, each a text or a text and its style.
    :param verbose: show what there is to know besides, too.
    """
    names = [_name(row) for row in rows]
    width = min(max(map(len, names), default=0), _WIDEST)
    for row, name in zip(rows, names, strict=True):
        finding = row.finding
        line(
            (f"{finding.mark:<8}", _STYLES[finding.mark]),
            (f"{name:<{width}}  ", "bold"),
            finding.fact,
        )
        for text in finding.remedy.splitlines() if finding.mark != "ok" or verbose else ():
            line(_INDENT, (text, "cyan"))
        for text in finding.detail.splitlines() if verbose else ():
            line(_INDENT, (text, "dim"))
        if verbose:
            line(_INDENT, (f"[{row.id}]", "dim"))
    line(summary(rows))


def summary(rows: Sequence[Row]) -> str:
    """How many rows have which mark, in a line."""
    problems = sum(row.finding.mark == "problem" for row in rows)
    advice = sum(row.finding.mark == "advice" for row in rows)
    failed = sum(row.failed for row in rows)
    parts = [
        f"{problems or 'no'} problem{'s' * (problems != 1)}",
        f"{advice or 'no'} advice" if not advice else f"{advice} with advice",
        f"{len(rows)} row{'s' * (len(rows) != 1)}",
    ]
    if failed:
        parts.insert(2, f"{failed} can't be told")
    return ", ".join(parts)


def _name(row: Row) -> str:
    subject = row.finding.subject
    owner = f"{row.plugin}: " if row.plugin else ""
    return owner + (f"{row.title} {subject}" if subject else row.title)
