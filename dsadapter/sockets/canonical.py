"""A ``socket.socket`` whose addresses are canonical."""

from __future__ import annotations

import _socket
import socket
from typing import Any, Self

from dsadapter.addressing.sockaddr import SocketAddress, unmap_sockaddr

# socket.socket's own properties make an enum member on each access, which takes a microsecond.
family_number = _socket.socket.family.__get__
_type = _socket.socket.type.__get__
_proto = _socket.socket.proto.__get__


class CanonicalSocket(socket.socket):
    """A socket that shows an IPv4 peer or local address as ``(ipv4, port)``, never mapped.

    ``accept`` gives sockets of this class. Only names are translated: ``family`` stays what the
    kernel says, and ``connect``, ``bind`` and ``sendto`` take what the kernel takes.
    """

    __slots__ = ()

    def accept(self) -> tuple[Self, SocketAddress]:
        """As ``socket.socket.accept``, with the canonical address of the peer."""
        fd, address = self._accept()  # type: ignore[attr-defined]
        accepted = type(self)(family_number(self), _type(self), _proto(self), fd)
        # What socket.socket does too: a BSD's accepted socket inherits non-blocking mode.
        if self.gettimeout() and socket.getdefaulttimeout() is None:
            accepted.setblocking(True)
        return accepted, unmap_sockaddr(address)

    def getpeername(self) -> Any:
        """As ``socket.socket.getpeername``, canonical."""
        return unmap_sockaddr(super().getpeername())

    def getsockname(self) -> Any:
        """As ``socket.socket.getsockname``, canonical."""
        return unmap_sockaddr(super().getsockname())
