"""A socket that is somebody else's, with canonical names."""

from __future__ import annotations

import socket
from typing import Any

from dsadapter.sockets.canonical import canonical_name
from dsadapter.stand_in import StandIn


class CanonicalView(StandIn):
    """Stands for a socket, or for what a framework shows of one, and names an IPv4 peer or local
    address ``(ipv4, port)``."""

    __slots__ = ()

    @property
    def family(self) -> socket.AddressFamily:
        """That of the names."""
        family: socket.AddressFamily = self._original.family
        if family == socket.AF_INET6 and len(self.getsockname()) == 2:
            return socket.AF_INET
        return family

    def getpeername(self) -> Any:
        """As ``socket.socket.getpeername``, canonical."""
        return canonical_name(self._original.getpeername())

    def getsockname(self) -> Any:
        """As ``socket.socket.getsockname``, canonical."""
        return canonical_name(self._original.getsockname())
