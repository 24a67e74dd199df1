"""One connect's dealings with what earlier ones have shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.happy_eyeballs.outcomes import Outcomes
from dsadapter.policy import ConnectPolicy
from dsadapter.sockets.connecting import source_address

# By reactor, because their clocks differ.
_outcomes: WeakKeyDictionary[Any, Outcomes] = WeakKeyDictionary()


class Memory:
    """What is remembered for one target.

    :param target: host and port, canonical.
    """

    def __init__(self, reactor: Any, target: tuple[str, int], policy: ConnectPolicy) -> None:
        self._outcomes = _outcomes_of(reactor)
        self._reactor = reactor
        self._key = (target, policy.bind_address)
        self.preferred = self._outcomes.recall(self._key, reactor.seconds(), source_address)
        """The address to begin with; None if nothing is known."""

    def connected(self, tried: Sequence[SocketAddress], winner: SocketAddress) -> None:
        """The race has been won.

        :param tried: addresses in the order in which they were started.
        """
        if tried[0] != winner:
            self.failed()
            self._outcomes.remember(
                self._key, tried, winner, self._reactor.seconds(), source_address
            )

    def failed(self) -> None:
        """No address has answered in time, or not the preferred one."""
        if self.preferred is not None:
            self._outcomes.forget(self._key, self.preferred)


def _outcomes_of(reactor: Any) -> Outcomes:
    try:
        if reactor not in _outcomes:
            _outcomes[reactor] = Outcomes()
        return _outcomes[reactor]
    except TypeError:
        # What stands in for a reactor may allow no weak references, or have no hash.
        return Outcomes()
