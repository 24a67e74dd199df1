"""The sockets of a loop that reads names from the bare descriptor."""

from __future__ import annotations

import _socket
import asyncio
from typing import Any

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.ready.ready_socket import ReadySocket
from dsadapter.sockets.canonical import CanonicalSocket

_initialize = _socket.socket.__init__


class HandedSocket(ReadySocket):
    """An accepted socket, made for a loop, which asks for little of it."""

    __slots__ = ("mapped", "transport")

    mapped: bool
    """Whether a reader of the bare descriptor sees mapped names."""
    transport: asyncio.BaseTransport | None
    """The loop's, while the connection is open; None during a TLS handshake."""

    # As numbers: socket.socket's own properties make an enum member on each access.
    family = _socket.socket.family  # type: ignore[assignment]
    type = _socket.socket.type  # type: ignore[assignment]

    def __init__(self, family: int, type_: int, proto: int, fileno: int) -> None:
        _initialize(self, family, type_, proto, fileno)
        # What socket.socket's own sets.
        self._io_refs = 0
        self._closed = False
        self._life = None
        self.transport = None

    def detach(self) -> int:
        """As ``socket.socket.detach``: a loop that does so closes the descriptor itself."""
        self.transport = None
        self._closed = True
        fd = _socket.socket.detach(self)
        self._end()
        return fd

    def _real_close(self, *args: Any) -> None:
        self.transport = None
        super()._real_close(*args)


class AcceptingSocket(ReadySocket):
    """A listening socket that accepts for a loop."""

    __slots__ = ()

    def accept(self) -> tuple[Any, SocketAddress]:
        """As for :class:`~dsadapter.ready.ready_socket.ReadySocket`; gives a
        :class:`HandedSocket`."""
        accepted, address, mapped = self._accepted_watched(HandedSocket, self._observed())
        accepted.mapped = mapped
        return accepted, address


class LoopSocket(ReadySocket):
    """A listening socket of one family, which the loop accepts from; plugins are told of its
    connections elsewhere, because a loop may call :meth:`accept` or not."""

    __slots__ = ()

    _accepts = CanonicalSocket

    def accept(self) -> Any:
        """As for :class:`~dsadapter.sockets.canonical.CanonicalSocket`."""
        return CanonicalSocket.accept(self)
