"""The sockets of a loop that reads names from the bare descriptor."""

from __future__ import annotations

import _socket
import asyncio
import sys
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Callable
from typing import Any

from dsadapter.ready.ready_socket import ReadySocket
from dsadapter.sockets.canonical import (
    CanonicalSocket,
    PlainSocket,
    accept_descriptor,
    canonical_name,
    family_number,
    peer_gone,
)
from dsadapter.sockets.options import ADDRESS_FORM


def accepts_by_objects(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop accepts by the methods of the socket that it is given."""
    return isinstance(loop, BaseSelectorEventLoop)


def asks_objects(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop has the names of a connection from its socket's methods, as asyncio's own
    loops have, rather than from the descriptor."""
    return accepts_by_objects(loop) or knows_by_objects(loop)


def knows_by_objects(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop may know a socket already, by its object alone: Windows' Proactor loop takes
    no other one with the same descriptor then."""
    return sys.platform == "win32" and isinstance(loop, asyncio.ProactorEventLoop)


_initialize = _socket.socket.__init__
_detach = _socket.socket.detach
_set_option = _socket.socket.setsockopt
_INET = int(_socket.AF_INET)
_FORM_LEVEL, _FORM = ADDRESS_FORM.level, ADDRESS_FORM.number


class _Numbered:
    """What a socket says of itself as numbers: ``socket.socket``'s own properties make an enum
    member on each access."""

    __slots__ = ()

    family = _socket.socket.family
    type = _socket.socket.type


class HandedSocket(_Numbered, CanonicalSocket):  # type: ignore[misc]
    """A connection, made for a loop, which asks for little of it."""

    __slots__ = ("mapped", "transport")

    mapped: bool
    """Whether a reader of the bare descriptor sees mapped names."""
    transport: asyncio.BaseTransport | None
    """The loop's, while the connection is open; None during a TLS handshake."""

    def __init__(self, family: int, type_: int, proto: int = 0, fileno: int | None = None) -> None:
        _begin(self, family, type_, proto, fileno)

    def detach(self) -> int:
        """As ``socket.socket.detach``: a loop that does so closes the descriptor itself."""
        self.transport = None
        self._closed = True
        return _detach(self)

    def _real_close(self, *args: Any) -> None:
        self.transport = None
        super()._real_close(*args)  # type: ignore[misc]


class WatchedHandedSocket(_Numbered, ReadySocket):  # type: ignore[misc]
    """The same, whose end plugins are told."""

    __slots__ = ("mapped", "transport")

    mapped: bool
    transport: asyncio.BaseTransport | None

    def __init__(self, family: int, type_: int, proto: int, fileno: int) -> None:
        _begin(self, family, type_, proto, fileno)
        self._life = None

    def detach(self) -> int:
        """As for :class:`HandedSocket`."""
        self.transport = None
        self._closed = True
        fd = _detach(self)
        self._end()
        return fd

    def _real_close(self, *args: Any) -> None:
        self.transport = None
        super()._real_close(*args)


def _begin(sock: Any, family: int, type_: int, proto: int, fileno: int | None) -> None:
    _initialize(sock, family, type_, proto, fileno)
    # What socket.socket's own sets.
    sock._io_refs = 0
    sock._closed = False
    sock.transport = None


def handed_over(sock: CanonicalSocket) -> HandedSocket:
    """A connection for a loop, which takes the place of one."""
    stream = int(_socket.SOCK_STREAM)
    return HandedSocket(family_number(sock), stream, sock.proto, PlainSocket.detach(sock))


class AcceptingSocket(ReadySocket):
    """A listening socket that accepts for a loop."""

    __slots__ = ()

    def handing(self) -> Callable[[], HandedSocket | WatchedHandedSocket]:
        """A function that accepts one, for one turn: what is the same for all who wait is looked up
        once. It raises what ``accept`` does."""
        listener = self._observed()
        kind: Any = HandedSocket if listener is None else WatchedHandedSocket
        new = kind.__new__
        family, stream, proto = family_number(self), int(_socket.SOCK_STREAM), self.proto

        def accept() -> HandedSocket | WatchedHandedSocket:
            fd, name = accept_descriptor(self)
            # As _begin, without two calls.
            accepted = new(kind)
            _initialize(accepted, family, stream, proto, fd)
            accepted._io_refs = 0
            accepted._closed = False
            accepted.transport = None
            if name is None:
                accepted.close()
                raise peer_gone()
            address = canonical_name(name)
            mapped = address is not name
            if mapped and _FORM is not None:
                try:
                    _set_option(accepted, _FORM_LEVEL, _FORM, _INET)
                    mapped = False
                except OSError:
                    pass
            accepted.mapped = mapped
            if listener is not None:
                try:
                    accepted._live(listener, address)
                except BaseException:
                    accepted.close()
                    raise
            return accepted  # type: ignore[no-any-return]

        return accept


class LoopSocket(ReadySocket):
    """A listening socket of one family, which the loop accepts from; plugins are told of its
    connections elsewhere, because a loop may call :meth:`accept` or not."""

    __slots__ = ()

    _accepts = CanonicalSocket

    def accept(self) -> Any:
        """As for :class:`~dsadapter.sockets.canonical.CanonicalSocket`."""
        return CanonicalSocket.accept(self)
