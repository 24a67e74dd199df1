"""Every check in a process of its own, and what came of it as rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from dsadapter.doctor.findings import MARKS, Check, Finding, Question, Row
from dsadapter.doctor.isolation import Say, isolated
from dsadapter.messages import printable, quoted

MOST_FOUND = 200
"""How many findings of one check are shown."""
MOST_SHOWN = 500
"""How many characters of a fact, and of a line of a remedy, are shown."""
_MOST_LINES = 20
_LONGEST_LIMIT = 60.0
_ID = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")


class GarbageError(Exception):
    """What a check returned is no finding; the text says what it is."""


def examined(checks: Iterable[Check], question: Question, plugin: str = "") -> Iterator[Row]:
    """Run checks, each by itself.

    :param plugin: whose checks they are.
    """
    for check in checks:
        yield from _examined(check, question, plugin)


def _examined(check: Check, question: Question, plugin: str) -> Iterator[Row]:
    def work(say: Say) -> None:
        for finding in found(check.run(question)):
            say(asdict(finding))

    said = isolated(work, min(check.limit, _LONGEST_LIMIT))
    row = Row(check.id, check.title, Finding("ok", ""), plugin=plugin)
    for message in said.messages:
        yield replace(row, finding=Finding(**message))
    if said.failure:
        yield failed_row(check.id, check.title, said.failure, plugin)


def failed_row(which: str, title: str, failure: str, plugin: str = "") -> Row:
    """The row of a check that found nothing out."""
    return Row(
        which,
        title,
        Finding("advice", f"can't be told: the check failed, {printable(failure, MOST_SHOWN)}"),
        failed=True,
        plugin=plugin,
    )


def found(result: Any) -> list[Finding]:
    """What a check returned, as findings whose texts are short and steer no terminal.

    :raises GarbageError: naming what is wrong with it.
    """
    if result is None:
        return []
    findings = [result] if isinstance(result, Finding) else result
    if not isinstance(findings, Sequence) or isinstance(findings, (str, bytes)):
        raise GarbageError(f"returned {quoted(result)}; return a dsadapter.doctor.Finding")
    shown = [_checked(finding) for finding in findings[:MOST_FOUND]]
    if len(findings) > MOST_FOUND:
        shown.append(Finding("advice", f"and {len(findings) - MOST_FOUND} more"))
    return shown


def _checked(finding: Any) -> Finding:
    if not isinstance(finding, Finding):
        raise GarbageError(f"returned {quoted(finding)} among its findings")
    if finding.mark not in MARKS:
        raise GarbageError(f"has a finding marked {quoted(finding.mark)}; there are {MARKS}")
    texts = (finding.fact, finding.remedy, finding.subject, finding.detail)
    if not all(isinstance(text, str) for text in texts) or not finding.fact.strip():
        raise GarbageError(f"has a finding whose texts are {quoted(texts)}")
    return Finding(
        finding.mark,
        printable(finding.fact, MOST_SHOWN),
        _lines(finding.remedy),
        printable(finding.subject),
        _lines(finding.detail),
    )


def _lines(text: str) -> str:
    return "\n".join(printable(line, MOST_SHOWN) for line in text.splitlines()[:_MOST_LINES])


def checks_of(result: Any) -> list[Check]:
    """What a plugin contributes, if it is checks.

    :raises GarbageError: naming what is wrong with it.
    """
    if result is None:
        return []
    checks = [result] if isinstance(result, Check) else result
    if not isinstance(checks, (list, tuple)) or not all(isinstance(c, Check) for c in checks):
        raise GarbageError(f"returned {quoted(result)}; return dsadapter.doctor.Check, or a list")
    for check in checks:
        if not isinstance(check.id, str) or not _ID.fullmatch(check.id):
            raise GarbageError(f"has a check with the id {quoted(check.id)}; write it as 'a.b-c'")
        if not isinstance(check.title, str) or not callable(check.run):
            raise GarbageError(f"has a check {check.id!r} without a title, or that can't be called")
        if not isinstance(check.limit, (int, float)) or not 0 < check.limit <= _LONGEST_LIMIT:
            raise GarbageError(f"has a check {check.id!r} with the limit {quoted(check.limit)}")
    if len({check.id for check in checks}) < len(checks):
        raise GarbageError("has two checks with one id")
    return [replace(check, title=printable(check.title)) for check in checks[:MOST_FOUND]]
