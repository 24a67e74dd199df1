"""What has been seen, by source line."""

from __future__ import annotations

import logging
from collections import Counter

from dsadapter.records import Leak

logger = logging.getLogger("dsadapter.guard")

_MOST_LINES = 1000


class Tally:
    """Leaks by the place that they come from; a place that is new is logged, the next are counted.

    Of places there are so many at most; what comes from others is counted as one.
    """

    def __init__(self) -> None:
        self._first: dict[tuple[str, int, str], Leak] = {}
        self._counts: Counter[tuple[str, int, str]] = Counter()
        self.elsewhere = 0
        """How many came from places beyond that many."""

    def add(self, leak: Leak) -> None:
        """Count one."""
        place = leak.file, leak.line, leak.function
        if place not in self._first:
            if len(self._first) >= _MOST_LINES:
                self.elsewhere += 1
                return
            self._first[place] = leak
            logger.warning("%s", leak)
        self._counts[place] += 1

    def leaks(self) -> list[tuple[Leak, int]]:
        """The first leak of each place, and how many there were."""
        return [(leak, self._counts[place]) for place, leak in list(self._first.items())]


TALLY = Tally()
"""The process's own."""


def leaks() -> list[tuple[Leak, int]]:
    """The first leak of each source line, and how many have been seen there."""
    return TALLY.leaks()
