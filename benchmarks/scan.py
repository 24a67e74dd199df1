"""What ``dsadapter scan`` costs, over the source of Twisted and of the standard library."""

from __future__ import annotations

import ast
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from sysconfig import get_path

import libcst
import twisted
from libcst.metadata import MetadataWrapper, PositionProvider

from benchmarks.rounds import RATIO, Samples, interleave
from benchmarks.table import Table, Target
from dsadapter.migration.scanning import Scanner

_LINES = 100_000
_TWISTED = "scan, Twisted: listeners in every third file"
_STDLIB = "scan, the standard library"
_PARSING = "ast.parse of every file of Twisted"
_LIBCST = "LibCST of every file of Twisted, with positions"
#: LibCST takes this share of the files: it would take a minute a round.
_SHARE = 10


def tables(rounds: int | None) -> Iterator[Table]:
    samples = Samples()
    theirs = _Tree(Path(twisted.__file__).parent)
    stdlib = _Tree(Path(get_path("stdlib")), without=("site-packages", "dist-packages"))
    subjects = {
        _TWISTED: lambda: _per_lines(theirs, _scan),
        _STDLIB: lambda: _per_lines(stdlib, _scan),
        _PARSING: lambda: _per_lines(theirs, _parse),
        _LIBCST: lambda: _per_lines(_Tree.share(theirs), _parse_concretely),
    }
    interleave(subjects, rounds or 5, samples)
    table = Table(
        "Scanning source",
        "CPU time of one process per 100,000 lines, read from disk.",
        samples,
        "s",
    )
    table.figure(_TWISTED, Target(10))
    table.figure(_STDLIB, Target(10))
    table.compare(_TWISTED, _PARSING, RATIO)
    table.compare(_TWISTED, _LIBCST, RATIO)
    yield table


class _Tree:
    """Python files, and how many lines they have."""

    def __init__(self, root: Path, without: tuple[str, ...] = ()) -> None:
        found = (p for p in root.rglob("*.py") if not set(p.parts) & set(without))
        self.files = sorted(found)
        self.lines = self._count()

    def _count(self) -> int:
        return sum(file.read_bytes().count(b"\n") for file in self.files)

    @classmethod
    def share(cls, tree: _Tree) -> _Tree:
        some = cls.__new__(cls)
        some.files = tree.files[::_SHARE]
        some.lines = some._count()
        return some


def _per_lines(tree: _Tree, work: object) -> float:
    assert callable(work)
    start = time.process_time()
    work(tree.files)
    return (time.process_time() - start) * _LINES / tree.lines


def _scan(files: list[Path]) -> None:
    Scanner().scan(files, everything=True)


def _parse(files: list[Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file in files:
            try:
                ast.parse(file.read_bytes())
            except (SyntaxError, ValueError):
                continue


def _parse_concretely(files: list[Path]) -> None:
    for file in files:
        try:
            wrapper = MetadataWrapper(libcst.parse_module(file.read_bytes()))
        except libcst.ParserSyntaxError:
            continue
        wrapper.resolve(PositionProvider)
