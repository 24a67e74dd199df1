"""Twisted's tests of endpoints on a reactor without descriptors, and of a port whose accepts
fail."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

from listening import listen
from twisted.internet import reactor as global_reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.test.test_endpoints import (
    ClientEndpointTestCaseMixin,
    ServerEndpointTestCaseMixin,
)
from twisted.test.test_tcp_internals import SelectReactorTests
from twisted.trial.unittest import SynchronousTestCase

from dsadapter.frameworks.twisted import DualStackClientEndpoint, DualStackServerEndpoint


class EndpointCase(ServerEndpointTestCaseMixin, SynchronousTestCase):
    def createServerEndpoint(
        self, reactor: Any, factory: IProtocolFactory, **listenArgs: Any
    ) -> tuple[IStreamServerEndpoint, tuple[Any, ...], IAddress]:
        backlog = listenArgs.get("backlog", socket.SOMAXCONN)
        interface = listenArgs.get("interface", "::")
        return (
            DualStackServerEndpoint(reactor, 0, **listenArgs),
            (0, factory, backlog, interface),
            IPv6Address("TCP", "::", 0),
        )

    def expectedServers(self, reactor: Any) -> Any:
        return reactor.tcpServers

    def listenArgs(self) -> dict[str, Any]:
        return {"backlog": 100, "interface": "127.0.0.1"}


class IPv4ClientCase(ClientEndpointTestCaseMixin, SynchronousTestCase):
    host = "192.0.2.1"
    bind = "192.0.2.7"
    address: type[IPv4Address | IPv6Address] = IPv4Address

    @property
    def expectedAddress(self) -> str:
        return self.host

    def createClientEndpoint(
        self, reactor: Any, clientFactory: IProtocolFactory, **connectArgs: Any
    ) -> tuple[IStreamClientEndpoint, tuple[Any, ...], IAddress]:
        bind = connectArgs.get("bindAddress")
        return (
            DualStackClientEndpoint(reactor, self.host, 80, **connectArgs),
            (self.host, 80, clientFactory, connectArgs.get("timeout", 30), bind and (bind, 0)),
            self.address("TCP", self.host, 80),
        )

    def expectedClients(self, reactor: Any) -> Any:
        return reactor.tcpClients

    def connectArgs(self) -> dict[str, Any]:
        return {"timeout": 10, "bindAddress": self.bind}

    def assertConnectArgs(self, receivedArgs: Any, expectedArgs: Any) -> None:
        host, port, _wrapping, timeout, bind = receivedArgs
        expected = (*expectedArgs[:2], *expectedArgs[3:])
        assert (host, port, timeout, bind) == expected


class IPv6ClientCase(IPv4ClientCase):
    host = "2001:db8::1"
    bind = "2001:db8::7"
    address = IPv6Address


class AcceptCase(SelectReactorTests):
    def port(self, portNumber: int, factory: IProtocolFactory, interface: str) -> IListeningPort:
        port = listen(global_reactor, portNumber, factory, interface="::")
        self.ports.append(port)
        return port

    def _acceptFailureTest(self, socketErrorNumber: int) -> None:
        super()._acceptFailureTest(socketErrorNumber)
        # Twisted's own check is content with any message.
        logged = [message.get("acceptError") for message in self.messages]
        assert errno.errorcode[socketErrorNumber] in logged


def cases(reactor: str, listened: Callable[[str], None]) -> list[type[Any]]:
    return [EndpointCase, IPv4ClientCase, IPv6ClientCase, AcceptCase]
