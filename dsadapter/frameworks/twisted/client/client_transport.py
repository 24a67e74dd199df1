"""The transport of a connection that a client endpoint has made."""

from __future__ import annotations

from collections.abc import Callable
from socket import AF_INET, AF_INET6
from typing import TYPE_CHECKING, Any

from twisted.internet import tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import NotConnectingError
from twisted.internet.interfaces import (
    IConnector,
    ILoggingContext,
    IProtocol,
    IProtocolFactory,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.frameworks.twisted.addresses import stream_address
from dsadapter.sockets.canonical import CanonicalSocket, family_number
from dsadapter.sockets.ifaddrs import zoned

if TYPE_CHECKING:
    _Transport = tcp.Client
else:
    _Transport = object


class EstablishedClient(_Transport):
    """What the transport of a client has that is connected when it is made.

    Comes before one of Twisted's own classes of connections.
    """

    realAddress: SocketAddress

    def makeConnection(self, protocol: IProtocol) -> None:
        """Begin to read, and tell the protocol."""
        self.protocol = protocol
        self.connected = 1
        prefix = protocol.logPrefix() if ILoggingContext.providedBy(protocol) else None
        self.logstr = f"{prefix or type(protocol).__name__},client"
        self.startReading()  # type: ignore[no-untyped-call]
        protocol.makeConnection(self)

    def tellLost(self, lost: Callable[[], None]) -> None:
        """Call a function when it is closed and its protocol has been told."""
        unobserved = self.connectionLost

        def observedConnectionLost(reason: Failure) -> None:
            del self.connectionLost
            try:
                unobserved(reason)  # type: ignore[no-untyped-call]
            finally:
                lost()

        # On the object: most are not observed.
        self.connectionLost = observedConnectionLost  # type: ignore[method-assign]

    def getHost(self) -> IPv4Address | IPv6Address:
        """The canonical local address."""
        return stream_address(zoned(self.socket.getsockname()))

    def getPeer(self) -> IPv4Address | IPv6Address:
        """The canonical address that was connected to."""
        return stream_address(self.realAddress)


class ClientConnection(EstablishedClient, tcp.Client):
    """``tcp.Client`` on a socket that has connected already."""

    def __init__(
        self, sock: CanonicalSocket, address: SocketAddress, factory: IProtocolFactory, reactor: Any
    ) -> None:
        # tcp.Client's own makes a socket of its own choice.
        tcp.Connection.__init__(self, sock, None, reactor)  # type: ignore[arg-type]
        self.addr = self.realAddress = address
        self.addressFamily = AF_INET6 if family_number(sock) == AF_INET6 else AF_INET
        self.connector = EstablishedConnector(self, factory)


@implementer(IConnector)
class EstablishedConnector:
    """``transport.connector`` of a connection, which is all that is left of connecting."""

    def __init__(self, transport: EstablishedClient, factory: IProtocolFactory) -> None:
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
