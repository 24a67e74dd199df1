"""``# dsadapter: ignore[P3]``: comments that say a finding is meant."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from dsadapter.migration.findings import Certainty, Finding, Span
from dsadapter.migration.patterns import PATTERNS, UNUSED_IGNORE

MARK = "dsadapter:"


@dataclass
class Suppression:
    """One comment: where it stands, and which patterns it names."""

    span: Span
    patterns: tuple[str, ...]
    used: set[str] = field(default_factory=set)


def suppressions_of(data: bytes) -> list[Suppression]:
    """The ignore comments of a Python file."""
    if MARK.encode() not in data:
        return []
    found: list[Suppression] = []
    try:
        for token in tokenize.tokenize(io.BytesIO(data).readline):
            if token.type == tokenize.COMMENT:
                found += in_comment(token.string, token.start[0], token.start[1])
    except (tokenize.TokenError, SyntaxError):
        pass
    return found


def in_comment(comment: str, line: int, column: int) -> Iterator[Suppression]:
    """What one comment suppresses; it may say so several times."""
    for rest in map(str.strip, comment.split(MARK)[1:]):
        if not rest.startswith("ignore"):
            continue
        names, closed, _ = rest.removeprefix("ignore").strip().removeprefix("[").partition("]")
        patterns = tuple(name.strip() for name in names.split(",")) if closed else ()
        span = Span(line, column, line, column + len(comment))
        yield Suppression(span, tuple(name for name in patterns if name))


def suppressed(findings: Iterable[Finding], suppressions: list[Suppression]) -> Iterator[Finding]:
    """Mark the findings that a comment on one of their lines names."""
    for finding in findings:
        ignored = False
        for suppression in suppressions:
            line = suppression.span.line
            here = finding.span.line <= line <= finding.span.end_line or line in finding.also
            if here and finding.pattern in suppression.patterns:
                suppression.used.add(finding.pattern)
                ignored = True
        yield replace(finding, ignored=True) if ignored else finding


def unused(suppressions: Iterable[Suppression]) -> Iterator[Finding]:
    """Report the comments, and the parts of them, that suppressed nothing."""
    for suppression in suppressions:
        idle = [name for name in suppression.patterns if name not in suppression.used]
        if suppression.patterns and not idle:
            continue
        what = f"{', '.join(idle)} is not found here" if idle else "it names no pattern"
        yield Finding(
            UNUSED_IGNORE,
            Certainty.LIKELY,
            suppression.span,
            f"ignore comment without effect: {what}",
            PATTERNS[UNUSED_IGNORE].remedy,
        )
