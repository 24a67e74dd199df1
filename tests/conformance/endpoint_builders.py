"""Twisted's mixins for ports, transports and connections, over one endpoint that serves ``::``."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from listening import listen
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.test.connectionmixins import ConnectionTestsMixin, EndpointCreator
from twisted.internet.test.reactormixins import ReactorBuilder
from twisted.internet.test.test_tcp import (
    AbortConnectionMixin,
    ConnectToTCPListenerMixin,
    StreamTransportTestsMixin,
    TCP4ClientTestsBuilder,
    TCP6ClientTestsBuilder,
    TCPPortTestsMixin,
    TCPTransportTestsBuilder,
    WriteSequenceTestsMixin,
)

from dsadapter.frameworks.twisted import DualStackServerEndpoint

REACTORS = {
    "EPollReactor": "twisted.internet.epollreactor.EPollReactor",
    "PollReactor": "twisted.internet.pollreactor.PollReactor",
    "SelectReactor": "twisted.internet.selectreactor.SelectReactor",
    "AsyncioSelectorReactor": "twisted.internet.test.reactormixins.AsyncioSelectorReactor",
    "ThreadedSelectReactor": "twisted.internet._threadedselect.ThreadedSelectReactor",
}


class _EndpointPort(ConnectToTCPListenerMixin):
    def getListeningPort(
        self, reactor: Any, factory: IProtocolFactory, port: int = 0, interface: str = ""
    ) -> IListeningPort:
        return listen(reactor, port, factory, interface=interface)


class PortBuilder(_EndpointPort, TCPPortTestsMixin, StreamTransportTestsMixin, ReactorBuilder):
    """With an IPv4 client where the client's family is open."""


class PortIPv6ClientBuilder(_EndpointPort, StreamTransportTestsMixin, ReactorBuilder):
    LISTENER_HOST = "::1"

    def getExpectedStartListeningLogMessage(self, port: IListeningPort, factory: str) -> str:
        return f"{factory} starting on {port.getHost().port}"

    def getExpectedConnectionLostLogMsg(self, port: IListeningPort) -> str:
        return f"(TCP Port {port.getHost().port} Closed)"


class _IPv4Client(EndpointCreator):
    def server(self, reactor: Any) -> IStreamServerEndpoint:
        return DualStackServerEndpoint(reactor, 0)

    def client(self, reactor: Any, serverAddress: IAddress) -> IStreamClientEndpoint:
        return TCP4ClientEndpoint(reactor, "127.0.0.1", serverAddress.port)


class _IPv6Client(_IPv4Client):
    def client(self, reactor: Any, serverAddress: IAddress) -> IStreamClientEndpoint:
        return TCP6ClientEndpoint(reactor, "::1", serverAddress.port)


class IPv4ConnectionBuilder(ConnectionTestsMixin, AbortConnectionMixin, ReactorBuilder):
    endpoints = _IPv4Client()


class IPv6ConnectionBuilder(ConnectionTestsMixin, AbortConnectionMixin, ReactorBuilder):
    endpoints = _IPv6Client()


class WidenedPortBuilder(TCPPortTestsMixin, ReactorBuilder):
    """The port listens on ``::``; clients connect to the one address that a test asked for."""

    # What is listened on is not what these three are told.
    test_portGetHostOnIPv4 = None
    test_portGetHostOnIPv6 = None
    test_portGetHostOnIPv6ScopeID = None

    def getListeningPort(
        self, reactor: Any, factory: IProtocolFactory, port: int = 0, interface: str = ""
    ) -> Any:
        listener = listen(reactor, port, factory, interface="::")
        reached = SimpleNamespace(host=interface, port=listener.getHost().port)
        return SimpleNamespace(getHost=lambda: reached)


class _Widened(ReactorBuilder):
    """Listens on ``::`` where a test of Twisted's asks for one address; clients connect to that."""

    def buildReactor(self) -> Any:
        reactor = super().buildReactor()

        def listenTCP(
            port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
        ) -> IListeningPort:
            return listen(reactor, port, factory, backlog, "::")

        reactor.listenTCP = listenTCP
        return reactor


class TransportBuilder(_Widened, TCPTransportTestsBuilder):
    """Log prefix, ``repr`` and ``buildProtocol``'s address; what is written."""


class IPv6WriteSequenceBuilder(_Widened, WriteSequenceTestsMixin):
    def getConnectedClientAndServer(self, reactor: Any, interface: str, addressFamily: int) -> Any:
        connected = TCPTransportTestsBuilder.getConnectedClientAndServer
        return connected(self, reactor, "::1", socket.AF_INET6)


class IPv4ClientBuilder(_Widened, TCP4ClientTestsBuilder):
    pass


class IPv6ClientBuilder(_Widened, TCP6ClientTestsBuilder):
    """With a link-local address."""


def cases(reactor: str, listened: Callable[[str], None]) -> list[type[Any]]:
    ReactorBuilder._reactors = [REACTORS[reactor]]
    builders = (
        PortBuilder,
        PortIPv6ClientBuilder,
        WidenedPortBuilder,
        IPv4ConnectionBuilder,
        IPv6ConnectionBuilder,
        TransportBuilder,
        IPv6WriteSequenceBuilder,
        IPv4ClientBuilder,
        IPv6ClientBuilder,
    )
    return [case for builder in builders for case in builder.makeTestCaseClasses().values()]
