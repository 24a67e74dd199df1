"""``IReactorUDP.listenUDP`` and ``IReactorMulticast.listenMulticast``, by way of the endpoint."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.error import InvalidAddressError
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from dsadapter.frameworks.twisted import DualStackDatagramEndpoint
from dsadapter.frameworks.twisted.adopters import adoptDatagramPort


def listen_datagrams(
    reactor: Any, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192
) -> IListeningPort:
    """The port of an endpoint, or the exception that it failed with, at once."""
    try:
        endpoint = DualStackDatagramEndpoint(
            reactor, port, interface=interface, maxPacketSize=maxPacketSize
        )
    except ValueError as error:
        # What listenUDP raises; the endpoint's own error says more.
        raise InvalidAddressError(interface, str(error)) from error
    outcomes: list[Any] = []
    endpoint.listen(protocol).addBoth(outcomes.append)
    [outcome] = outcomes
    if isinstance(outcome, Failure):
        outcome.raiseException()
    return outcome


class RoutedDatagrams:
    """A reactor's datagram methods by way of the endpoint."""

    listened: Callable[[str], None]

    def listenUDP(
        self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192
    ) -> IListeningPort:
        self.listened("dsadapter")
        return listen_datagrams(self, port, protocol, interface, maxPacketSize)

    def adoptDatagramPort(
        self, fileDescriptor: int, addressFamily: int, protocol: Any, maxPacketSize: int = 8192
    ) -> IListeningPort:
        if addressFamily not in (socket.AF_INET, socket.AF_INET6):
            return super().adoptDatagramPort(  # type: ignore[misc]
                fileDescriptor, addressFamily, protocol, maxPacketSize
            )
        self.listened("adopted")
        return adoptDatagramPort(self, fileDescriptor, protocol, maxPacketSize)

    def listenMulticast(
        self,
        port: int,
        protocol: Any,
        interface: str = "",
        maxPacketSize: int = 8192,
        listenMultiple: bool = False,
    ) -> IListeningPort:
        if listenMultiple:
            # Sharing a port is what the endpoint does not do.
            self.listened("twisted")
            return super().listenMulticast(  # type: ignore[misc]
                port, protocol, interface, maxPacketSize, listenMultiple
            )
        return self.listenUDP(port, protocol, interface, maxPacketSize)
