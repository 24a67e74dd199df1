"""What has been seen, by source line."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from dsadapter.records import Leak

if TYPE_CHECKING:
    from logging import Logger

_MOST_LINES = 1000


class Placed(Protocol):
    """Something that comes from a source line."""

    @property
    def file(self) -> str:
        """Empty where there is none."""

    @property
    def line(self) -> int:
        """0 where there is none."""

    @property
    def function(self) -> str:
        """The function that the line is in."""


P = TypeVar("P", bound=Placed)


class Seen(Generic[P]):
    """What comes from one source line: the first, and how many there were."""

    __slots__ = ("count", "first", "tell_at")

    def __init__(self, first: P) -> None:
        self.first = first
        self.count = 0
        self.tell_at = 1


class Tally(Generic[P]):
    """What has been seen, by the place that it comes from.

    Of places there are so many at most; what comes from others is counted as one.

    :param told: called with a place that is new, and as often as its count has one more digit.
    """

    def __init__(self, told: Callable[[Seen[P]], None] | None = None) -> None:
        self._places: dict[tuple[str, int, str], Seen[P]] = {}
        self.told = [] if told is None else [told]
        self.elsewhere = 0
        """How many came from places beyond that many."""

    def add(self, one: P) -> Seen[P] | None:
        """Count one; None where there are too many places."""
        place = one.file, one.line, one.function
        known = self._places.get(place)
        if known is None:
            if len(self._places) >= _MOST_LINES:
                self.elsewhere += 1
                return None
            # Another thread may be here, too.
            known = self._places.setdefault(place, Seen(one))
        self.again(known)
        return known

    def again(self, known: Seen[P]) -> None:
        """Count another one of a place."""
        known.count += 1
        if known.count >= known.tell_at:
            known.tell_at *= 10
            for told in self.told:
                # What a log handler raises is not the business of the call that leaks.
                with suppress(Exception):
                    told(known)

    def places(self) -> list[Seen[P]]:
        """What has been seen, in the order of its first."""
        return list(self._places.values())

    def clear(self) -> None:
        """Begin anew."""
        self._places.clear()
        self.elsewhere = 0


def logger() -> Logger:
    """``dsadapter.guard``."""
    # A covered program may import logging, and what it needs, later, and patch threads before.
    import logging

    return logging.getLogger("dsadapter.guard")


def _log(seen: Seen[Any]) -> None:
    if seen.count == 1:
        logger().warning("%s", seen.first)


LEAKS: Tally[Leak] = Tally(_log)
"""What has been handed over in this process."""


def leaks() -> list[tuple[Leak, int]]:
    """The first leak of each source line, and how many have been seen there."""
    return [(seen.first, seen.count) for seen in LEAKS.places()]
