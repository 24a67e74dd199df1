"""The report for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dsadapter.migration.findings import Certainty
from dsadapter.migration.scanning import Report

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def text_report(report: Report, line: Callable[..., Any], *, possible: bool = False) -> None:
    """Write every finding, what could not be read, and a summary.

    :param line: writes one line, of texts and of pairs of a text and its style.
    """
    told: set[str] = set()
    files = set()
    for path, finding in report.shown(possible=possible):
        pattern = report.patterns[finding.pattern]
        files.add(path)
        place = f"{path}:{finding.span.line}:{finding.span.column + 1}"
        line(
            (place, "bold"),
            ": ",
            (f"{finding.pattern} {finding.certainty}", _STYLES[pattern.level]),
            f"  {finding.message}",
        )
        line(("    instead: ", "dim"), shorten(finding.replacement))
        if finding.pattern not in told:
            told.add(finding.pattern)
            line(("    why: ", "dim"), pattern.why)
    for failure in report.failures:
        line((f"{failure.path}:{failure.line}", "bold"), f": not looked at: {failure.reason}")
    line(_summary(report, len(files), possible=possible))


def shorten(text: str, width: int = 160) -> str:
    """One line of bounded width: the middle of what is longer goes."""
    text = " ".join(text.split())
    if len(text) <= width:
        return text
    half = width // 2
    return f"{text[: half - 2]} ... {text[-half + 3 :]}"


def _summary(report: Report, files: int, *, possible: bool) -> str:
    counts = {certainty: report.count(certainty) for certainty in Certainty}
    shown = [c for c in Certainty if possible or c is not Certainty.POSSIBLE]
    total = sum(counts[certainty] for certainty in shown)
    parts = []
    if total:
        detail = ", ".join(f"{counts[c]} {c}" for c in shown if counts[c])
        parts.append(f"{_number(total, 'finding')} in {_number(files, 'file')}: {detail}")
    else:
        parts.append("nothing found")
    parts.append(f"{_number(report.files, 'file')} looked at")
    if report.failures:
        parts.append(f"{len(report.failures)} could not be")
    if report.skipped:
        parts.append(f"{report.skipped} of tests and copies passed over (--with-tests)")
    if counts[Certainty.POSSIBLE] and not possible:
        parts.append(f"{counts[Certainty.POSSIBLE]} only possible (--all)")
    ignored = sum(f.ignored for found in report.findings.values() for f in found)
    if ignored:
        parts.append(f"{ignored} ignored by comments")
    return "; ".join(parts)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
