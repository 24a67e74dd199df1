"""Timers for whoever waits for one race by himself."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Timer:
    """What is to be called once."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[], object]) -> None:
        self._function: Callable[[], object] | None = function

    def cancel(self) -> None:
        """Call nothing any more."""
        self._function = None

    def fire(self) -> None:
        """Call it, unless that has been done."""
        function, self._function = self._function, None
        if function is not None:
            function()


class Timers:
    """Timers that fire when they are told to.

    :param now: gives seconds on a clock that only goes forward.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._waiting: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()

    @property
    def next_due(self) -> float | None:
        """When the next one is due, by the clock; None if none is."""
        return self._waiting[0][0] if self._waiting else None

    def call_later(self, seconds: float, function: Callable[[], object]) -> Timer:
        """Call a function in a later turn."""
        timer = Timer(function)
        heapq.heappush(self._waiting, (self._now() + seconds, next(self._numbers), timer))
        return timer

    def run_due(self) -> None:
        """Call what is due now, once: what it puts off waits for the next turn."""
        due = []
        now = self._now()
        while self._waiting and self._waiting[0][0] <= now:
            due.append(heapq.heappop(self._waiting)[2])
        for timer in due:
            timer.fire()
