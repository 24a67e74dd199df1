"""All checks, in the order of their rows, and what they come to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dsadapter.doctor import dropin, installed, launched, loops, machine, ports, tools
from dsadapter.doctor.contributed import plugin_rows
from dsadapter.doctor.examining import examined
from dsadapter.doctor.findings import Question, Row

#: The command's exit statuses, and what FAILED is for: it could not tell.
FINE, PROBLEM, FAILED = 0, 1, 2


def examine(question: Question) -> Iterator[Row]:
    """Every row, as soon as it is known."""
    for room in (machine, installed, loops, dropin):
        yield from examined(room.CHECKS, question)
    yield from plugin_rows(question)
    if question.ports:
        yield from examined(ports.CHECKS, question)
    yield from examined(tools.CHECKS, question)
    if question.program:
        yield from examined(launched.CHECKS, question)


def status_of(rows: Iterable[Row], *, strict: bool = False) -> int:
    """The exit status: 1 for a problem, else 2 if a check of ours could not tell.

    :param strict: 1 for advice, too.
    """
    rows = list(rows)
    marks = {row.finding.mark for row in rows if not row.failed}
    if "problem" in marks:
        return PROBLEM
    if any(row.failed and not row.plugin for row in rows):
        return FAILED
    return PROBLEM if strict and any(row.finding.mark == "advice" for row in rows) else FINE
