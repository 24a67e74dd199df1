"""Twisted's reactor of Windows' completion ports: its own connections, on canonical sockets.

It tells when something is over, and never that a socket is ready. What has to be ready here, an
attempt to connect and a connection whose PROXY header has not come, a thread waits for.
"""

from __future__ import annotations

import socket
from contextvars import Context
from typing import Any
from weakref import WeakKeyDictionary, ref

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
from dsadapter.watcher import Found, Watch, Watcher


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
    """As :class:`~dsadapter.frameworks.twisted.reactor_waiting.ReactorWaiting`, by a thread."""

    __slots__ = ()

    def when_writable(self, sock: socket.socket, ready: Ready) -> Watch:
        """Watch a socket."""
        return _watcher_of(self._reactor).when_writable(sock.fileno(), ready)

    def when_readable(self, sock: socket.socket, ready: Ready) -> Watch:
        """Watch a socket."""
        return _watcher_of(self._reactor).when_readable(sock.fileno(), ready)


class _Reactor:
    """As :class:`~dsadapter.watcher.Home`; it does not keep the reactor."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = ref(reactor)

    def wake(self, take: Found) -> bool:
        reactor = self._reactor()
        if reactor is None:
            return False
        reactor.callFromThread(take)
        return True

    def is_open(self) -> bool:
        # A test may have one run again that has stopped.
        return self._reactor() is not None

    def call(self, found: Found, context: Context) -> None:
        try:
            context.run(found)
        except BaseException:
            log.err()


_watchers: WeakKeyDictionary[Any, Watcher] = WeakKeyDictionary()


def _watcher_of(reactor: Any) -> Watcher:
    watcher = _watchers.get(reactor)
    if watcher is None:
        watcher = _watchers[reactor] = Watcher(_Reactor(reactor))
    return watcher
