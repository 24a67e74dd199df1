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

ROUTE_LIFETIME = 1.0
"""Seconds: a network seldom changes between two connects, and asking takes two sockets."""

MAX_TARGETS = 1024
_MAX_ROUTES = 4096
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
    :param route_lifetime: seconds for which a source address is taken for what it was.
    """

    def __init__(
        self,
        lifetime: float = LIFETIME,
        max_targets: int = MAX_TARGETS,
        route_lifetime: float = ROUTE_LIFETIME,
    ) -> None:
        self._lifetime = lifetime
        self._max_targets = max_targets
        self._by_target: OrderedDict[Hashable, list[Outcome]] = OrderedDict()
        self._route_lifetime = route_lifetime
        self._routes: dict[SocketAddress, tuple[str | None, float]] = {}

    def __len__(self) -> int:
        return len(self._by_target)

    def recall(self, target: Hashable, now: float, source_of: SourceOf) -> SocketAddress | None:
        """The address to try first, if the network is as it was then, or was so within the last
        :data:`ROUTE_LIFETIME`.

        :param target: host and port, and whatever else decides on how it is reached.
        :param now: seconds on the clock of :meth:`remember`.
        """
        known = self._by_target.get(target)
        if known is None:
            return None
        # A clock may be set back.
        alive = [outcome for outcome in known if 0 <= now - outcome.at < self._lifetime]
        if len(alive) < len(known):
            self._keep(target, alive)
        for outcome in alive:
            for address, source in outcome.sources:
                if self._source(address, now, source_of) != source:
                    break
            else:
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
        # Not what was known before: this is kept for longer.
        self._routes.clear()
        sources = tuple(
            (address, self._source(address, now, source_of)) for address in (tried[0], winner)
        )
        known = self._by_target.pop(target, [])
        others = [outcome for outcome in known if outcome.sources != sources]
        self._by_target[target] = [Outcome(winner, sources, now), *others][:_MAX_STATES]
        while len(self._by_target) > self._max_targets:
            self._by_target.popitem(last=False)

    def forget(self, target: Hashable, winner: SocketAddress) -> None:
        """An address that was recalled has failed, or another was faster."""
        # Perhaps the network has changed.
        self._routes.clear()
        known = self._by_target.get(target, [])
        self._keep(target, [outcome for outcome in known if outcome.winner != winner])

    def _source(self, address: SocketAddress, now: float, source_of: SourceOf) -> str | None:
        known = self._routes.get(address)
        if known is not None and 0 <= now - known[1] < self._route_lifetime:
            return known[0]
        if len(self._routes) >= _MAX_ROUTES:
            self._routes.clear()
        source = source_of(address)
        self._routes[address] = source, now
        return source

    def _keep(self, target: Hashable, outcomes: list[Outcome]) -> None:
        if outcomes:
            self._by_target[target] = outcomes
        else:
            self._by_target.pop(target, None)
