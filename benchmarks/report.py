"""The report: a page of prose whose marked blocks are written anew, with plots beside it.

What each part measured is kept in a JSON file, so that parts can be measured one at a time and the
summary is of all of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import plots

_BLOCK = re.compile(r"<!-- benchmarks: ([\w-]+) -->\n.*?<!-- end -->", re.DOTALL)
SUMMARY = "summary"

TERMS = """\
A row compares what it names first with what it is measured *against*: its result is the median,
over all rounds, of what the two figures of a round say. `0.9 x` is nine tenths of the other's
figure, `3 x faster` a third of its time, `2 ms more` a difference. In a *round* everything is
measured once, in an order of chance. A *target* is a bound on the result, set before the figure
was known, and *met* or *missed*; a row without one is there to compare."""


class Report:
    """A page with blocks, the figures for them, and the plots.

    :param page: a Markdown file; the figures are beside it in ``NAME.json``, the plots in
        ``NAME/PART.svg``.
    :raises ValueError: if a block is missing or unknown.
    """

    def __init__(self, page: Path, parts: Sequence[str]) -> None:
        self._page = page
        self._store = page.with_suffix(".json")
        self._parts = parts
        blocks = _BLOCK.findall(page.read_text(encoding="utf-8"))
        if sorted(blocks) != sorted([SUMMARY, *parts]):
            wrong = set(blocks) ^ {SUMMARY, *parts}
            raise ValueError(
                f"{page} needs one block for the summary and for each part: {sorted(wrong)}; write "
                f"'<!-- benchmarks: NAME -->' and '<!-- end -->' around each"
            )
        self._measured: dict[str, Any] = {}
        if self._store.exists():
            self._measured = json.loads(self._store.read_text(encoding="utf-8"))

    def add(
        self, part: str, environment: Sequence[str], seconds: float, tables: Sequence[Any]
    ) -> None:
        """Take in what has been measured, and write the page.

        :param seconds: how long that took.
        :param tables: :class:`~benchmarks.table.Table` objects.
        """
        self._measured[part] = {
            "environment": list(environment),
            "seconds": round(seconds),
            "tables": [{**table.data(), "text": table.text()} for table in tables],
        }
        self.write()

    def write(self) -> None:
        """Write the figures, the plots and the blocks of the page."""
        known = {part: self._measured[part] for part in self._parts if part in self._measured}
        self._store.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", "utf-8")
        for part, measured in known.items():
            main = [table for table in measured["tables"] if plots.is_main(table)]
            if main:
                plots.draw(self._plot(part), main)
        texts = {part: self._block(part, measured) for part, measured in known.items()}
        texts[SUMMARY] = _summary(known)

        def written(match: re.Match[str]) -> str:
            name = match[1]
            text = texts.get(name, "Not measured for this page yet.")
            return f"<!-- benchmarks: {name} -->\n\n{text}\n\n<!-- end -->"

        page = self._page.read_text(encoding="utf-8")
        self._page.write_text(_BLOCK.sub(written, page), encoding="utf-8")

    def _plot(self, part: str) -> Path:
        return self._page.with_suffix("") / f"{part}.svg"

    def _block(self, part: str, measured: Mapping[str, Any]) -> str:
        lines = []
        if self._plot(part).exists():
            lines += [f"![The main results of {part}]({self._page.stem}/{part}.svg)", ""]
        tables = "\n".join(table["text"] for table in measured["tables"])
        lines += ["```text", ", ".join(measured["environment"]), "", tables.rstrip(), "```"]
        return "\n".join(lines)


def _summary(known: Mapping[str, Any]) -> str:
    lines = [TERMS, "", "| part | takes | targets met | missed |", "| --- | --- | --- | --- |"]
    for part, measured in known.items():
        rows = [
            (table["title"], row)
            for table in measured["tables"]
            for row in table["rows"]
            if row["target"]
        ]
        missed = [(title, row) for title, row in rows if not row["met"]]
        met = f"{len(rows) - len(missed)} of {len(rows)}" if rows else "none set"
        why = "; ".join(f"{title}: {_miss(row)}" for title, row in missed)
        lines.append(f"| {part} | {_duration(measured['seconds'])} | {met} | {why} |")
    return "\n".join(lines)


def _miss(row: Mapping[str, Any]) -> str:
    if row["result"] is None:
        figure = f"{row['median']:.4g} {row['unit']}".strip()
        return f"{row['what']}: {figure}, {row['target']}"
    result = f"{row['result']:.4g} {row['relation']}"
    return f"{row['what']}, against {row['against']}: {result}, {row['target']}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "not timed"
    return f"{seconds} s" if seconds < 90 else f"{seconds / 60:.0f} min"
