"""All checks, in the order of their rows, and what they come to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from dsadapter.doctor import contributed, dropin, installed, launched, loops, machine, ports, tools
from dsadapter.doctor.examining import examined
from dsadapter.doctor.findings import Check, Question, Row

#: The command's exit statuses, and what FAILED is for: it could not tell.
FINE, PROBLEM, FAILED = 0, 1, 2


def ids() -> list[str]:
    """The ids of all checks of ours, in the order of their rows."""
    rooms = (machine, installed, loops, dropin, ports, tools, launched)
    found = [check.id for room in rooms for check in room.CHECKS]
    found.insert(found.index(ports.CHECKS[0].id), contributed.ID)
    return found


def examine(question: Question, only: Collection[str] = ()) -> Iterator[Row]:
    """Every row, as soon as it is known.

    :param only: the ids of the checks to make; empty for all.
    """

    def rows(checks: Iterable[Check]) -> Iterator[Row]:
        return examined([c for c in checks if not only or c.id in only], question)

    for room in (machine, installed, loops, dropin):
        yield from rows(room.CHECKS)
    if not only or contributed.ID in only:
        yield from contributed.plugin_rows(question)
    if question.ports:
        yield from rows(ports.CHECKS)
    yield from rows(tools.CHECKS)
    if question.program:
        yield from rows(launched.CHECKS)


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
