"""Twisted's tests of an endpoint on a reactor without descriptors, and of a port whose accepts
fail."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

from listening import listen
from twisted.internet import reactor as global_reactor
from twisted.internet.address import IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.internet.test.test_endpoints import ServerEndpointTestCaseMixin
from twisted.test.test_tcp_internals import SelectReactorTests
from twisted.trial.unittest import SynchronousTestCase

from dsadapter.frameworks.twisted import DualStackServerEndpoint


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
    return [EndpointCase, AcceptCase]
