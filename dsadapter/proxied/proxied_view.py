"""Somebody else's socket of a connection that a proxy passed on, under the client's names."""

from __future__ import annotations

from typing import Any

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.ready.canonical_view import shown
from dsadapter.stand_in import StandIn


class ProxiedView(StandIn):
    """Stands for a socket, or for what a framework shows of one.

    :param names: the client's canonical address, and the one that the client connected to.
    """

    __slots__ = ("_names",)

    def __init__(self, names: tuple[SocketAddress, SocketAddress], original: Any) -> None:
        super().__init__(original)
        self._names = names

    def __repr__(self) -> str:
        return shown(self)

    def getpeername(self) -> SocketAddress:
        """The client's."""
        return self._names[0]

    def getsockname(self) -> SocketAddress:
        """Where the client connected to."""
        return self._names[1]
