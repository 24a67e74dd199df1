"""Interleaved rounds over named subjects, and what two subjects' figures say about each other.

The rounds are interleaved because a machine's speed drifts: within one round all subjects meet the
same machine, so that figures are compared round by round before the median is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import shuffle
from statistics import median
from typing import NamedTuple


class Relation(NamedTuple):
    """How a figure is compared with its peer's of the same round."""

    text: str
    of: Callable[[float, float], float]


RATIO = Relation("x", lambda figure, peer: figure / peer)
SPEEDUP = Relation("x faster", lambda figure, peer: peer / figure)
BEYOND = Relation("more", lambda figure, peer: figure - peer)


class Samples:
    """One figure a round for every subject."""

    def __init__(self) -> None:
        self._rounds: list[dict[str, float]] = []

    def __len__(self) -> int:
        return len(self._rounds)

    def add(self, figures: dict[str, float]) -> None:
        self._rounds.append(figures)

    def derive(self, subject: str, of: Callable[[Mapping[str, float]], float]) -> None:
        """Add to every round a figure that comes of the round's others."""
        for figures in self._rounds:
            figures[subject] = of(figures)

    def median(self, subject: str) -> float:
        return median(figures[subject] for figures in self._rounds)

    def compared(self, subject: str, peer: str, relation: Relation) -> float:
        """The median of the relations of the rounds."""
        return median(relation.of(figures[subject], figures[peer]) for figures in self._rounds)


def interleave(subjects: Mapping[str, Callable[[], float]], rounds: int, into: Samples) -> None:
    """Run every subject once a round and keep the figures that they return.

    One round more is run first and dropped: it pays for cold caches and unspecialised bytecode.
    """
    order = list(subjects)
    for number in range(rounds + 1):
        figures = {subject: subjects[subject]() for subject in order}
        if number:
            into.add(figures)
        # By chance, so that nobody has a neighbour or a place of its own.
        shuffle(order)
