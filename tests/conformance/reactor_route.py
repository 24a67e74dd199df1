"""Twisted's tests of TCP and TLS, unmodified, on reactors whose ``listenTCP`` is the endpoint's and
whose adopters are ours."""

from __future__ import annotations

import importlib
import socket
from collections.abc import Callable
from typing import Any

from listening import listen
from routing import routed
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.test import reactormixins
from twisted.trial.unittest import SynchronousTestCase

from dsadapter.frameworks.twisted.adopters import (
    adoptDatagramPort,
    adoptStreamConnection,
    adoptStreamPort,
)

FAMILIES = (socket.AF_INET, socket.AF_INET6)
TESTS_OF_TWISTED = (
    "twisted.internet.test.test_tcp",
    "twisted.internet.test.test_tls",
    "twisted.internet.test.test_socket",
)


class _Routed:
    """A reactor's ``listenTCP``, and so its ``listenSSL``, by way of the endpoint."""

    listened: Callable[[str], None]

    def listenTCP(
        self, port: Any, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        if not isinstance(port, int):
            # A Binding itself says which socket options to set, which the endpoint does not take.
            self.listened("twisted")
            return super().listenTCP(port, factory, backlog, interface)  # type: ignore[misc]
        self.listened("dsadapter")
        return listen(self, port, factory, backlog, interface)

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory
    ) -> IListeningPort:
        if addressFamily not in FAMILIES:
            return super().adoptStreamPort(fileDescriptor, addressFamily, factory)  # type: ignore[misc]
        self.listened("adopted")
        return adoptStreamPort(self, fileDescriptor, factory)

    def adoptStreamConnection(
        self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory
    ) -> Any:
        if addressFamily not in FAMILIES:
            return super().adoptStreamConnection(  # type: ignore[misc]
                fileDescriptor, addressFamily, factory
            )
        self.listened("adopted")
        return adoptStreamConnection(self, fileDescriptor, factory)

    def adoptDatagramPort(
        self, fileDescriptor: int, addressFamily: int, protocol: Any, maxPacketSize: int = 8192
    ) -> IListeningPort:
        if addressFamily not in FAMILIES:
            return super().adoptDatagramPort(  # type: ignore[misc]
                fileDescriptor, addressFamily, protocol, maxPacketSize
            )
        self.listened("adopted")
        return adoptDatagramPort(self, fileDescriptor, protocol, maxPacketSize)


globals().update(routed(_Routed))


def cases(reactor: str, listened: Callable[[str], None]) -> list[type[Any]]:
    _Routed.listened = staticmethod(listened)
    return cases_on(f"{__name__}.{reactor}")


def cases_on(reactor: str) -> list[type[Any]]:
    """Twisted's test cases on a reactor.

    :param reactor: the name of its class, module included.
    """
    # The modules make their test cases when they are imported.
    reactormixins.ReactorBuilder._reactors = [reactor]
    return [
        case
        for module in map(importlib.import_module, TESTS_OF_TWISTED)
        for case in vars(module).values()
        # Each module also holds builders, and what it imports from the other.
        if getattr(case, "__module__", None) == module.__name__
        and isinstance(case, type)
        and issubclass(case, reactormixins.ReactorBuilder)
        and issubclass(case, SynchronousTestCase)
    ]
