"""A connection attempt as Twisted's reactors see it, and the transport that it becomes."""

from __future__ import annotations

from collections.abc import Callable
from socket import AF_INET, AF_INET6
from typing import Any

from twisted.internet import tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import NotConnectingError
from twisted.internet.interfaces import (
    IConnector,
    ILoggingContext,
    IProtocol,
    IProtocolFactory,
    IWriteDescriptor,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.frameworks.twisted.addresses import stream_address
from dsadapter.sockets.canonical import CanonicalSocket, family_number
from dsadapter.sockets.connecting import has_connected, is_connected
from dsadapter.sockets.ifaddrs import zoned


@implementer(IWriteDescriptor)
class ConnectingDescriptor:
    """A socket that connects. It knows nothing of protocols: most of its kind lose a race.

    One that has connected already says so in the next turn, and costs the reactor no more.

    :param address: where it connects to, canonical.
    :param finished: called once, with this and None if it has connected, else the error; never at
        once, nor after :meth:`close`.
    :param abandoned: called once instead if the reactor gives up all its descriptors.
    """

    def __init__(
        self,
        sock: CanonicalSocket,
        address: SocketAddress,
        reactor: Any,
        finished: Callable[[ConnectingDescriptor, OSError | None], None],
        abandoned: Callable[[Failure], None],
    ) -> None:
        self.address = address
        self.fileno = sock.fileno
        self._socket = sock
        self._reactor = reactor
        self._finished = finished
        self._abandoned = abandoned
        self._open = True
        self._soon: Any = None
        if is_connected(sock):
            self._soon = reactor.callLater(0, self._connected)
        else:
            reactor.addWriter(self)

    def _connected(self) -> None:
        self._soon = None
        self._open = False
        self._finished(self, None)

    def doWrite(self) -> None:
        """The socket is writable: it has connected or failed."""
        self._report()

    def connectionLost(self, reason: Failure) -> None:
        """Most reactors report a failed attempt this way."""
        if not self._report():
            self._abandoned(reason)

    def _report(self) -> bool:
        """Whether the attempt is over; its end is reported once."""
        if not self._open:
            return True
        try:
            if not has_connected(self._socket):
                return False
        except OSError as error:
            self._finished(self, error)
        else:
            self._finished(self, None)
        return True

    def logPrefix(self) -> str:
        """For the reactor's log."""
        return "dsadapter"

    def close(self) -> None:
        """Give up; nothing is reported any more."""
        self.release().close()

    def release(self) -> CanonicalSocket:
        """The socket, which the reactor no longer watches."""
        if self._open:
            self._open = False
            if self._soon is not None:
                self._soon.cancel()
            else:
                self._reactor.removeWriter(self)
        return self._socket


class ClientConnection(tcp.Client):
    """``tcp.Client`` on a socket that has connected already."""

    def __init__(
        self, sock: CanonicalSocket, address: SocketAddress, factory: IProtocolFactory, reactor: Any
    ) -> None:
        # tcp.Client's own makes a socket of its own choice.
        tcp.Connection.__init__(self, sock, None, reactor)  # type: ignore[arg-type]
        self.addr = self.realAddress = address
        self.addressFamily = AF_INET6 if family_number(sock) == AF_INET6 else AF_INET
        self.connector = EstablishedConnector(self, factory)

    def makeConnection(self, protocol: IProtocol) -> None:
        """Begin to read, and tell the protocol."""
        self.protocol = protocol
        self.connected = 1
        prefix = protocol.logPrefix() if ILoggingContext.providedBy(protocol) else None
        self.logstr = f"{prefix or type(protocol).__name__},client"
        self.startReading()  # type: ignore[no-untyped-call]
        protocol.makeConnection(self)

    def getHost(self) -> IPv4Address | IPv6Address:
        """The canonical local address."""
        return stream_address(zoned(self.socket.getsockname()))

    def getPeer(self) -> IPv4Address | IPv6Address:
        """The canonical address that was connected to."""
        return stream_address(self.realAddress)


@implementer(IConnector)
class EstablishedConnector:
    """``transport.connector`` of a connection, which is all that is left of connecting."""

    def __init__(self, transport: ClientConnection, factory: IProtocolFactory) -> None:
        self.transport = transport
        self.factory = factory
        self.state = "connected"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state} {self.getDestination()}>"

    def getDestination(self) -> IPv4Address | IPv6Address:
        """The canonical address that was connected to."""
        return stream_address(self.transport.realAddress)

    def disconnect(self) -> None:
        """Close the connection."""
        self.transport.loseConnection()  # type: ignore[no-untyped-call]

    def stopConnecting(self) -> None:
        """:raises NotConnectingError: always."""
        raise NotConnectingError("the connection has been made")

    def connect(self) -> None:
        """:raises RuntimeError: always."""
        raise RuntimeError("connect with the endpoint again")

    def connectionLost(self, reason: Failure) -> None:
        """The transport says that it is closed."""
        self.state = "disconnected"
        self.factory.doStop()
