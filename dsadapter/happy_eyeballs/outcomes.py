"""What earlier connections have shown about which address to try first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from dsadapter.addressing.sockaddr import SocketAddress

SourceOf = Callable[[SocketAddress], str | None]
"""The address that the system would reach a destination from, None if it has no way."""

LIFETIME = 600.0
"""Seconds after which an outcome is forgotten (RFC 8305, section 4, wants history to be short)."""

MAX_TARGETS = 1024
_MAX_STATES = 4


class Outcome(NamedTuple):
    """An address that has won although another one had been tried before it."""

    winner: SocketAddress
    sources: tuple[tuple[SocketAddress, str | None], ...]
    """The state of the network: from where the system reached the first address, and the winner."""
    at: float


class Outcomes:
    """Outcomes by target and by state of the network, bounded and short-lived.

    They say what to try first, and nothing of what to leave out. An outcome is not prolonged by
    its use, so that in due time the other addresses are tried first again.

    :param lifetime: seconds.
    :param max_targets: how many targets to keep outcomes of; the oldest go first.
    """

    def __init__(self, lifetime: float = LIFETIME, max_targets: int = MAX_TARGETS) -> None:
        self._lifetime = lifetime
        self._max_targets = max_targets
        self._by_target: OrderedDict[Hashable, list[Outcome]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_target)

    def recall(self, target: Hashable, now: float, source_of: SourceOf) -> SocketAddress | None:
        """The address to try first, if the network is as it was then.

        :param target: host and port, and whatever else decides on how it is reached.
        :param now: seconds on the clock of :meth:`remember`.
        """
        known = self._by_target.get(target)
        if known is None:
            return None
        # A clock may be set back.
        alive = [outcome for outcome in known if 0 <= now - outcome.at < self._lifetime]
        self._keep(target, alive)
        for outcome in alive:
            if all(source_of(address) == source for address, source in outcome.sources):
                return outcome.winner
        return None

    def remember(
        self,
        target: Hashable,
        tried: Sequence[SocketAddress],
        winner: SocketAddress,
        now: float,
        source_of: SourceOf,
    ) -> None:
        """Take in how a race has ended, if there is something to learn from it.

        :param tried: addresses in the order in which they were started.
        """
        if tried[0] == winner:
            return
        sources = tuple((address, source_of(address)) for address in (tried[0], winner))
        known = self._by_target.pop(target, [])
        others = [outcome for outcome in known if outcome.sources != sources]
        self._by_target[target] = [Outcome(winner, sources, now), *others][:_MAX_STATES]
        while len(self._by_target) > self._max_targets:
            self._by_target.popitem(last=False)

    def forget(self, target: Hashable, winner: SocketAddress) -> None:
        """An address that was recalled has failed, or another was faster."""
        known = self._by_target.get(target, [])
        self._keep(target, [outcome for outcome in known if outcome.winner != winner])

    def _keep(self, target: Hashable, outcomes: list[Outcome]) -> None:
        if outcomes:
            self._by_target[target] = outcomes
        else:
            self._by_target.pop(target, None)
