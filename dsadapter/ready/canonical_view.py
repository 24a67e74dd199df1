"""A socket that is somebody else's, with canonical names."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from dsadapter.sockets.canonical import CanonicalSocket, PlainSocket, canonical_name
from dsadapter.stand_in import StandIn


def shown(sock: Any) -> str:
    """What the ``repr`` of a socket says, by the names that it shows itself."""
    names = []
    for word, name in (("laddr", sock.getsockname), ("raddr", sock.getpeername)):
        with suppress(OSError):
            names.append(f" {word}={name()!r}")
    return f"<{type(sock).__name__} fd={sock.fileno()}{''.join(names)}>"


class CanonicalView(StandIn):
    """Stands for a socket, or for what a framework shows of one, and names an IPv4 peer or local
    address ``(ipv4, port)``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return shown(self)

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

    def dup(self) -> Any:
        """As ``socket.socket.dup``, of a canonical one."""
        duplicate = self._original.dup()
        if not isinstance(duplicate, PlainSocket) or isinstance(duplicate, CanonicalSocket):
            return duplicate
        family, type_, proto = duplicate.family, duplicate.type, duplicate.proto
        return CanonicalSocket(family, type_, proto, duplicate.detach())
