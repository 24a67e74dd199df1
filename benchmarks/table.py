"""Tables of results: as plain text, as Markdown, and as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.rounds import Relation, Samples

_HEADER = ("what", "median", "against", "median", "result", "target", "")


@dataclass(frozen=True)
class Target:
    """A bound on the result of a row; the bound itself is good enough."""

    bound: float
    at_least: bool = False

    def __str__(self) -> str:
        return f"at {'least' if self.at_least else 'most'} {self.bound:g}"

    def met_by(self, result: float) -> bool:
        return result >= self.bound if self.at_least else result <= self.bound


@dataclass(frozen=True)
class Row:
    """A subject's median, its peer's, and what comes of the two; or a count, without a peer."""

    subject: str
    median: float
    unit: str
    peer: str | None = None
    peer_median: float | None = None
    result: float | None = None
    relation: str = ""
    target: Target | None = None

    def met(self) -> bool | None:
        """None without a target."""
        if self.target is None:
            return None
        return self.target.met_by(self.median if self.result is None else self.result)

    def cells(self) -> tuple[str, ...]:
        met = self.met()
        return (
            self.subject,
            f"{_number(self.median)} {self.unit}".strip(),
            self.peer or "",
            "" if self.peer_median is None else f"{_number(self.peer_median)} {self.unit}",
            "" if self.result is None else f"{_number(self.result)} {self.relation}",
            str(self.target or ""),
            "" if met is None else "met" if met else "missed",
        )

    def data(self) -> dict[str, Any]:
        return {
            "what": self.subject,
            "median": self.median,
            "unit": self.unit,
            "against": self.peer,
            "against_median": self.peer_median,
            "result": self.result,
            "relation": self.relation,
            "target": None if self.target is None else str(self.target),
            "met": self.met(),
        }


@dataclass
class Table:
    """The rows of one measurement, and one sentence about how it is made."""

    title: str
    method: str
    samples: Samples
    unit: str
    rows: list[Row] = field(default_factory=list)
    skipped: str = ""
    """Why there are no rows."""

    def compare(
        self, subject: str, peer: str, relation: Relation, target: Target | None = None
    ) -> None:
        """Append a row for two subjects of the samples."""
        self.rows.append(
            Row(
                subject,
                self.samples.median(subject),
                self.unit,
                peer,
                self.samples.median(peer),
                self.samples.compared(subject, peer, relation),
                f"{self.unit} more" if relation.text == "more" else relation.text,
                target,
            )
        )

    def figure(self, subject: str, target: Target | None = None) -> None:
        """Append a row for one subject of the samples, without a peer."""
        self.rows.append(Row(subject, self.samples.median(subject), self.unit, target=target))

    def count(self, subject: str, number: int, target: Target | None = None) -> None:
        """Append a row for something that is counted once."""
        self.rows.append(Row(subject, number, "", target=target))

    def text(self) -> str:
        if self.skipped:
            return "\n".join([self.title, self.method, f"Skipped: {self.skipped}.", ""])
        lines = [_HEADER, *(row.cells() for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        body = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        return "\n".join([self._heading(), self.method, "", *body, ""])

    def markdown(self) -> str:
        if self.skipped:
            return "\n".join(
                [f"## {self.title}", "", self.method, "", f"Skipped: {self.skipped}.", ""]
            )
        lines: Sequence[tuple[str, ...]] = [
            _HEADER,
            ("---",) * len(_HEADER),
            *(row.cells() for row in self.rows),
        ]
        body = ["| " + " | ".join(line) + " |" for line in lines]
        return "\n".join([f"## {self._heading()}", "", self.method, "", *body, ""])

    def data(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "method": self.method,
            "rounds": len(self.samples),
            "skipped": self.skipped or None,
            "rows": [row.data() for row in self.rows],
        }

    def _heading(self) -> str:
        return f"{self.title} ({len(self.samples)} rounds)"


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    size = abs(value)
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3}f}"
