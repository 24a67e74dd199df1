"""One connect's dealings with what earlier ones have shown."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.happy_eyeballs.outcomes import Outcomes
from dsadapter.sockets.connecting import source_address


class Memory:
    """What is remembered for one target.

    :param key: the target, and whatever else decides on how it is reached.
    :param now: the clock of all who share the outcomes.
    """

    def __init__(self, outcomes: Outcomes, key: Hashable, now: Callable[[], float]) -> None:
        self._outcomes = outcomes
        self._key = key
        self._now = now
        self.preferred = outcomes.recall(key, now(), source_address)
        """The address to begin with; None if nothing is known."""

    def connected(self, tried: Sequence[SocketAddress], winner: SocketAddress) -> None:
        """The race has been won.

        :param tried: addresses in the order in which they were started.
        """
        if tried[0] != winner:
            self.failed()
            self._outcomes.remember(self._key, tried, winner, self._now(), source_address)

    def failed(self) -> None:
        """No address has answered in time, or not the preferred one."""
        if self.preferred is not None:
            self._outcomes.forget(self._key, self.preferred)
