"""Twisted's reactor of Windows' completion ports: its own connections, on canonical sockets.

It tells when something is over, and never that a socket is ready. What has to be ready here, an
attempt to connect and a connection whose PROXY header has not come, is looked at now and then.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.iocpreactor import tcp
from twisted.internet.protocol import Protocol
from twisted.python import log
from twisted.python.failure import Failure

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.connector.waiting import Ready
from dsadapter.frameworks.twisted.addresses import stream_address
from dsadapter.frameworks.twisted.client.client_transport import (
    EstablishedClient,
    EstablishedConnector,
)
from dsadapter.frameworks.twisted.reactor_waiting import ReactorWaiting
from dsadapter.sockets.canonical import CanonicalSocket
from dsadapter.sockets.ifaddrs import zoned

_LOOKS = 0.01
"""Seconds between two looks at the sockets that are waited for."""
_AT_ONCE = 256
"""Python's ``select`` takes 512 sockets on Windows."""


def completing_server(
    sock: CanonicalSocket,
    protocol: IProtocol,
    peer: SocketAddress,
    port: Any,
    session: int,
    reactor: Any,
) -> tcp.Server:
    """The reactor's transport of an accepted connection, as ``tcp.Server`` is made.

    :param peer: canonical.
    """
    try:
        reactor.registerHandle(sock.fileno())
        local = stream_address(zoned(sock.getsockname()))
        return tcp.Server(sock, protocol, stream_address(peer), local, session, reactor)
    except BaseException:
        sock.close()
        raise


class CompletingClient(EstablishedClient, tcp.Connection):  # type: ignore[misc]
    """The reactor's transport, on a socket that has connected already."""

    _tlsClientDefault = True

    def __init__(
        self, sock: CanonicalSocket, address: SocketAddress, factory: IProtocolFactory, reactor: Any
    ) -> None:
        reactor.registerHandle(sock.fileno())
        tcp.Connection.__init__(self, sock, None, reactor)
        self.realAddress = address
        self.connector = EstablishedConnector(self, factory)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} to {self.realAddress}>"

    def connectionLost(self, reason: Failure) -> None:
        """Close the connection, and tell its protocol and its connector."""
        if self.disconnected:
            return
        if self.protocol is None:
            # The connect has ended before there was one.
            self.protocol = Protocol()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self.connector.connectionLost(reason)


class CompletingWaiting(ReactorWaiting):
    """As :class:`~dsadapter.frameworks.twisted.reactor_waiting.ReactorWaiting`."""

    __slots__ = ()

    def when_writable(self, sock: socket.socket, ready: Ready) -> _Watched:
        """Look at a socket now and then."""
        return _Watched(_watch_of(self._reactor), sock, ready, writing=True)

    def when_readable(self, sock: socket.socket, ready: Ready) -> _Watched:
        """Look at a socket now and then."""
        return _Watched(_watch_of(self._reactor), sock, ready, writing=False)


class _Watched:
    def __init__(self, watch: _Watch, sock: socket.socket, ready: Ready, *, writing: bool) -> None:
        self._watch = watch
        self.fileno = sock.fileno
        self.ready = ready
        self.writing = writing
        watch.add(self)

    def cancel(self) -> None:
        """Look no more."""
        self._watch.discard(self)


class _Watch:
    """The sockets that one reactor looks at."""

    def __init__(self, reactor: Any) -> None:
        self._call_later = reactor.callLater
        self._watched: dict[_Watched, None] = {}
        self._call: Any = None

    def add(self, watched: _Watched) -> None:
        self._watched[watched] = None
        self._go_on()

    def discard(self, watched: _Watched) -> None:
        self._watched.pop(watched, None)
        if not self._watched and self._call is not None:
            self._call.cancel()
            self._call = None

    def _go_on(self) -> None:
        if self._watched and self._call is None:
            self._call = self._call_later(_LOOKS, self._look)

    def _look(self) -> None:
        self._call = None
        try:
            watched = list(self._watched)
            for first in range(0, len(watched), _AT_ONCE):
                self._look_at(watched[first : first + _AT_ONCE])
        finally:
            self._go_on()

    def _look_at(self, some: Sequence[_Watched]) -> None:
        # Some that were looked at before may have ended these.
        some = [each for each in some if each in self._watched]
        reading = [each for each in some if not each.writing]
        writing = [each for each in some if each.writing]
        # A failed attempt is exceptional on Windows, and never writable.
        ready = select.select(reading, writing, writing, 0)
        for each in dict.fromkeys(each for found in ready for each in found):
            if each not in self._watched:
                continue
            try:
                each.ready()
            except BaseException:
                log.err()


_watches: WeakKeyDictionary[Any, _Watch] = WeakKeyDictionary()


def _watch_of(reactor: Any) -> _Watch:
    watch = _watches.get(reactor)
    if watch is None:
        watch = _watches[reactor] = _Watch(reactor)
    return watch
