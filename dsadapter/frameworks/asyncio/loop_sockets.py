"""The sockets of a loop that reads names from the bare descriptor."""

from __future__ import annotations

import _socket
import asyncio
import errno
import sys
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Callable
from itertools import compress, repeat
from typing import Any, TypeVar

from dsadapter.proxied.proxied_socket import ProxiedSocket
from dsadapter.ready.ready_socket import ReadySocket, arrive, finalize
from dsadapter.records import family_of
from dsadapter.sockets.accept_batch import AcceptBatch
from dsadapter.sockets.canonical import (
    ONE_CONNECTION,
    CanonicalSocket,
    PlainSocket,
    accept_descriptor,
    canonical_name,
    family_number,
    peer_gone,
    take_ipv4_form,
)
from dsadapter.sockets.system_errors import system_error

if sys.platform == "win32":
    _KNOWS_BY_OBJECTS: tuple[type[asyncio.AbstractEventLoop], ...] = (asyncio.ProactorEventLoop,)
else:
    _KNOWS_BY_OBJECTS = ()
_ACCEPTS_BY_OBJECTS = BaseSelectorEventLoop
_ASKS_OBJECTS = (_ACCEPTS_BY_OBJECTS, *_KNOWS_BY_OBJECTS)
_WAITED_OUT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""After these asyncio accepts again in a second."""


def accepts_by_objects(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop accepts by the methods of the socket that it is given."""
    return isinstance(loop, _ACCEPTS_BY_OBJECTS)


def asks_objects(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop has the names of a connection from its socket's methods, as asyncio's own
    loops have, rather than from the descriptor."""
    return isinstance(loop, _ASKS_OBJECTS)


def knows_by_objects(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop may know a socket already, by its object alone: Windows' Proactor loop takes
    no other one with the same descriptor then."""
    return isinstance(loop, _KNOWS_BY_OBJECTS)


_initialize = _socket.socket.__init__
_detach = _socket.socket.detach


S = TypeVar("S", bound=CanonicalSocket)


def _finalized(
    sock: Any, _finalize: Callable[[Any], None] = finalize, _detach: Callable[[Any], int] = _detach
) -> None:
    # A loop that reads the bare descriptor (uvloop) holds the socket, and closes the descriptor
    # without a word where a transport fails or is collected. Another connection, of any thread, may
    # have the number by now.
    if getattr(sock, "_io_refs", 0) > 0:
        _detach(sock)
    else:
        _finalize(sock)


class _Handed:
    """What a connection is for a loop. It says its family and type as numbers: ``socket.socket``'s
    own properties make an enum member on each access."""

    __slots__ = ()

    family = _socket.socket.family
    type = _socket.socket.type

    transport: asyncio.BaseTransport | None
    """The loop's, set when its protocol has met it; None once the connection is closed."""

    def _real_close(self, *args: Any) -> None:
        self.transport = None  # type: ignore[misc]
        super()._real_close(*args)  # type: ignore[misc]


class HandedSocket(_Handed, CanonicalSocket):  # type: ignore[misc]
    """A connection, made for a loop, which asks for little of it."""

    __slots__ = ("mapped", "transport")

    mapped: bool
    """Whether a reader of the bare descriptor sees mapped names."""

    def __init__(self, family: int, type_: int, proto: int = 0, fileno: int | None = None) -> None:
        _initialize(self, family, type_, proto, fileno)
        # What socket.socket's own sets.
        self._io_refs = 0
        self._closed = False

    # A loop that does so closes the descriptor itself.
    detach = _detach
    __del__ = _finalized

    def dup(self) -> Any:
        """As ``socket.socket.dup``, of one that is the caller's alone."""
        return _duplicate(self, CanonicalSocket)


class WatchedHandedSocket(_Handed, ReadySocket):  # type: ignore[misc]
    """The same, whose end plugins are told."""

    __slots__ = ("mapped", "transport")

    mapped: bool
    _finalize = _finalized

    def __init__(self, family: int, type_: int, proto: int, fileno: int) -> None:
        _initialize(self, family, type_, proto, fileno)
        self._io_refs = 0
        self._closed = False
        self._life = None

    def detach(self) -> int:
        """As for :class:`HandedSocket`."""
        try:
            self._end()
        finally:
            fd = _detach(self)
        return fd

    def dup(self) -> Any:
        """As for :class:`HandedSocket`."""
        duplicate = _duplicate(self, ReadySocket)
        self._share_life(duplicate)
        return duplicate


class ProxiedHandedSocket(_Handed, ProxiedSocket):  # type: ignore[misc]
    """The same, under the names that a PROXY header gave."""

    __slots__ = ("transport",)

    _finalize = _finalized
    detach = WatchedHandedSocket.detach

    def dup(self) -> Any:
        """As for :class:`HandedSocket`."""
        duplicate = _duplicate(self, ProxiedSocket)
        self._share_life(duplicate)
        duplicate._names = self._names
        return duplicate


class _Accepted(HandedSocket):
    """Begun by who makes it, with no call for that."""

    __slots__ = ()
    __init__ = _initialize


class _WatchedAccepted(WatchedHandedSocket):
    __slots__ = ()
    __init__ = _initialize


def _duplicate(sock: Any, kind: type[S]) -> S:
    duplicate = kind(family_number(sock), sock.type, sock.proto, _socket.dup(sock.fileno()))
    duplicate.settimeout(sock.gettimeout())
    return duplicate


def handed_over(sock: CanonicalSocket) -> HandedSocket:
    """A connection for a loop, which takes the place of one."""
    stream = int(_socket.SOCK_STREAM)
    return HandedSocket(family_number(sock), stream, sock.proto, PlainSocket.detach(sock))


class AcceptingSocket(ReadySocket):
    """A listening socket that accepts for a loop."""

    __slots__ = ()

    def hand(
        self,
        batch: AcceptBatch,
        most: int,
        handed: list[HandedSocket | WatchedHandedSocket],
        closed_unseen: bool,
    ) -> None:
        """Accept what waits, and tell plugins.

        :param batch: this socket's.
        :param most: as for :meth:`~dsadapter.sockets.accept_batch.AcceptBatch.take`.
        :param handed: what has been accepted is appended to it, also where this raises.
        :param closed_unseen: as for :func:`~dsadapter.ready.ready_socket.arrive`.
        :raises OSError: if something has kept others from being accepted; of a single one, whatever
            has kept it.
        """
        listener = self._observed()
        kind: Any = _Accepted if listener is None else _WatchedAccepted
        family, stream, proto = family_number(self), int(_socket.SOCK_STREAM), self.proto
        if most == 1:
            # One by one there is little to share, and a loop that has slept finds nothing cached.
            fd, name = accept_descriptor(self)
            sock = kind(family, stream, proto, fd)
            sock._io_refs = 0
            sock._closed = False
            if name is None:
                sock.close()
                raise peer_gone()
            # A mapped one is spelled with dots, and hardly any other (inet_ntop).
            sock.mapped = "." in name[0] and not take_ipv4_form(sock)
            if sock.mapped or listener is not None:
                address = canonical_name(name)
                sock.mapped = sock.mapped and address is not name
                if listener is not None:
                    try:
                        one = [(sock, address, family_of(address))]
                        arrive(listener, one, closed_unseen=closed_unseen)
                    except BaseException:
                        sock.close()
                        raise
            handed.append(sock)
            return
        taken = batch.take(most)
        descriptors = taken.descriptors
        accepted: list[Any] = []
        try:
            # Loops of C: steps of Python take longer than all else.
            accepted += map(kind, repeat(family), repeat(stream), repeat(proto), descriptors)
            for sock in accepted:
                sock._io_refs = 0
                sock._closed = False
                sock.mapped = False
            for sock in compress(accepted, taken.mapped):
                sock.mapped = not take_ipv4_form(sock)
            if listener is None:
                handed += accepted
            else:
                arriving = zip(accepted, taken.names, taken.families, strict=True)
                arrive(listener, arriving, handed, closed_unseen=closed_unseen)
        except BaseException:
            for sock in accepted[len(handed) :]:
                sock.close()
            for descriptor in descriptors[len(accepted) :]:
                _socket.close(descriptor)
            raise
        if taken.error is not None:
            raise taken.error


class _SelectedConnection(ReadySocket):
    __slots__ = ()

    # Nobody is to be warned of a connection, and the loop calls this for each.
    setblocking = _socket.socket.setblocking  # type: ignore[assignment]


class SelectedSocket(ReadySocket):
    """A listening socket that asyncio's own loop accepts from."""

    __slots__ = ("_has_failed",)

    _accepts = _SelectedConnection

    def accept(self) -> Any:
        """As for :class:`~dsadapter.ready.ready_socket.ReadySocket`, failing in the ways that such
        a loop waits out: of any other error it logs a traceback in every turn."""
        try:
            return ReadySocket.accept(self)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno in ONE_CONNECTION:
                raise peer_gone() from error
            self._has_failed = not getattr(self, "_has_failed", False)
            if not self._has_failed:
                # The loop waits already, and goes on with all that it was prepared to accept.
                raise system_error(errno.EAGAIN) from error
            if error.errno in _WAITED_OUT:
                raise
            said = f"accept failed, and is tried again as after this one: {error}"
            raise OSError(errno.ENOBUFS, said) from error


class LoopSocket(ReadySocket):
    """A listening socket of one family, which the loop accepts from; plugins are told of its
    connections elsewhere, because a loop may call :meth:`accept` or not."""

    __slots__ = ()

    _accepts = CanonicalSocket

    def accept(self) -> Any:
        """As for :class:`~dsadapter.sockets.canonical.CanonicalSocket`."""
        return CanonicalSocket.accept(self)
