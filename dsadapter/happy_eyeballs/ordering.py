"""In which order addresses are tried (RFC 8305, section 4)."""

from __future__ import annotations

from collections.abc import Sequence

from dsadapter.addressing.sockaddr import SocketAddress


def is_ipv6(address: SocketAddress) -> bool:
    """Whether a canonical socket address is an IPv6 one."""
    return len(address) > 2


class Untried:
    """The addresses that have not been tried; the families take turns.

    The first address's family goes first, with ``first_family_count`` addresses; from then on every
    address is of the other family than the one before, as long as there are addresses of both.

    :param preferred: the address to begin with, or else one of its family.
    """

    __slots__ = (
        "_first_family",
        "_first_family_count",
        "_known",
        "_next_family",
        "_preferred",
        "_queues",
        "_taken",
        "left",
    )

    def __init__(self, first_family_count: int, preferred: SocketAddress | None) -> None:
        self._first_family_count = first_family_count
        self._preferred = preferred
        self._known: dict[SocketAddress, None] = {}
        self._taken: set[SocketAddress] = set()
        # Of IPv4 and of IPv6, the next one last.
        self.left = 0
        """How many addresses are left."""
        self._queues: tuple[list[SocketAddress], list[SocketAddress]] = ([], [])
        self._first_family: bool | None = None
        self._next_family = True

    def add(self, addresses: Sequence[SocketAddress]) -> None:
        """Take addresses into the order of what is left.

        :param addresses: all addresses so far, the best first; what is not among them any more
            comes last.
        """
        known, taken = dict.fromkeys(addresses), self._taken
        if self._known:
            known |= self._known
        self._known = known
        queues: tuple[list[SocketAddress], list[SocketAddress]] = ([], [])
        self._queues = queues
        for address in reversed(known):
            if address not in taken:
                queues[len(address) > 2].append(address)
        self.left = len(queues[0]) + len(queues[1])

    def has(self, ipv6: bool) -> bool:
        """Whether there are addresses of a family."""
        return bool(self._queues[ipv6])

    def take(self) -> SocketAddress:
        """The next address; there has to be one."""
        if self._first_family is None:
            address = self._first()
            family = self._first_family = self._next_family = len(address) > 2
            self._queues[family].remove(address)
        else:
            queue = self._queues[self._next_family] or self._queues[not self._next_family]
            address = queue.pop()
            family = len(address) > 2
        self.left -= 1
        self._taken.add(address)
        if family != self._first_family:
            # The first family has had its share, whatever it was.
            self._first_family_count = 0
        if len(self._taken) >= self._first_family_count:
            self._next_family = not family
        return address

    def _first(self) -> SocketAddress:
        preferred = self._preferred
        if preferred is not None:
            queue = self._queues[is_ipv6(preferred)]
            if preferred in queue:
                return preferred
            if queue:
                return queue[-1]
        return next(iter(self._known))
