"""Rewriting what a scan is certain of, file by file."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from dsadapter.migration.discovery import PYTHON, is_script
from dsadapter.migration.findings import Certainty, Edit, Finding
from dsadapter.migration.rewriting.adapters import missing
from dsadapter.migration.scanning import Report, RuleError, Scanner


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What would become of one file.

    :param before: its bytes; ``after``: the new ones, equal to ``before`` if it is left.
    :param missing: the modules and names of dsadapter that the new file needs and this version
        lacks. Such a file is shown and not written.
    :param problem: why it could not be rewritten; empty if it could.
    """

    path: Path
    findings: tuple[Finding, ...]
    before: bytes
    after: bytes
    missing: tuple[str, ...] = ()
    problem: str = ""

    @property
    def writable(self) -> bool:
        """Whether the new contents may be written."""
        return not self.missing and not self.problem and self.after != self.before

    def diff(self) -> str:
        """A unified diff, for people; bytes that are no UTF-8 are shown escaped."""
        before, after = (
            # A form feed ends no line, nor does U+2028.
            re.findall(r"[^\n]*\n|[^\n]+", data.decode("utf-8", "backslashreplace"))
            for data in (self.before, self.after)
        )
        path = self.path.as_posix().removeprefix("/").replace("\n", "\\n")
        lines = difflib.unified_diff(before, after, f"a/{path}", f"b/{path}")
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in (text.replace("\r\n", "\n") for text in lines)
        )


def rewrites(scanner: Scanner, report: Report) -> list[Rewrite]:
    """Every file of a report that holds something certain, rewritten in memory.

    :raises ImportError: if LibCST is not installed.
    """
    return [
        rewrite
        for path, findings in report.findings.items()
        if (rewrite := _rewrite(scanner, path, findings)) is not None
    ]


def _rewrite(scanner: Scanner, path: Path, findings: list[Finding]) -> Rewrite | None:
    from dsadapter.migration.rewriting.applying import CannotRewriteError, rewritten

    certain = tuple(f for f in findings if f.certainty is Certainty.CERTAIN and not f.ignored)
    if not certain:
        return None
    try:
        before = path.read_bytes()
    except OSError as error:
        return Rewrite(path, certain, b"", b"", problem=error.strerror or str(error))
    if path.suffix not in PYTHON and not is_script(before):
        return None
    edits: dict[Edit, None] = dict.fromkeys(edit for f in certain for edit in f.edits)
    lacking = missing({f.adapter for f in certain}, edits)
    try:
        # The file may have changed since it was scanned.
        if _certain(scanner, before) != list(certain):
            raise CannotRewriteError("it changed while it was scanned; run the command again")
        after = rewritten(before, edits)
        if _certain(scanner, after):
            raise CannotRewriteError("the result would be rewritten again")
    except (CannotRewriteError, SyntaxError, ValueError, RuleError) as error:
        return Rewrite(path, certain, before, before, lacking, str(error))
    except (RecursionError, MemoryError):
        # LibCST goes as deep as the code does, and deeper than ast.
        problem = "its code is nested too deeply for LibCST; rewrite it by hand"
        return Rewrite(path, certain, before, before, lacking, problem)
    return Rewrite(path, certain, before, after, lacking)


def _certain(scanner: Scanner, data: bytes) -> list[Finding]:
    found = scanner.python(data) or []
    return [f for f in found if f.certainty is Certainty.CERTAIN and not f.ignored]
