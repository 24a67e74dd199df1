"""``IReactorSocket``'s adopters, which ask the kernel for the family in place of the caller."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.protocol import AbstractDatagramProtocol
from twisted.python.failure import Failure

from dsadapter.frameworks.twisted.addresses import stream_address
from dsadapter.frameworks.twisted.datagram.datagram_endpoint import DualStackDatagramEndpoint
from dsadapter.frameworks.twisted.server.server_endpoint import DualStackServerEndpoint
from dsadapter.policy import DEFAULT_PACKET_SIZE
from dsadapter.sockets.canonical import CanonicalSocket
from dsadapter.sockets.ifaddrs import zoned

__all__ = ["adoptDatagramPort", "adoptStreamConnection", "adoptStreamPort"]


def adoptStreamPort(reactor: Any, fileDescriptor: int, factory: IProtocolFactory) -> IListeningPort:
    """As ``reactor.adoptStreamPort``: listen on a duplicate of a descriptor, which stays the
    caller's to close.

    :raises OSError: naming the descriptor and the remedy, for what is no listening TCP socket.
    :raises CannotListenError: if a plugin refuses.
    """
    return _listening(
        fileDescriptor,
        lambda fd: DualStackServerEndpoint.inherited(reactor, fd=fd).listen(factory),
    )


def adoptDatagramPort(
    reactor: Any,
    fileDescriptor: int,
    protocol: AbstractDatagramProtocol,
    maxPacketSize: int = DEFAULT_PACKET_SIZE,
) -> IListeningPort:
    """As ``reactor.adoptDatagramPort``: exchange datagrams through a duplicate of a descriptor,
    which stays the caller's to close.

    :raises OSError: naming the descriptor and the remedy, for what is no bound UDP socket.
    :raises CannotListenError: if a plugin refuses.
    """
    return _listening(
        fileDescriptor,
        lambda fd: DualStackDatagramEndpoint.inherited(
            reactor, fd=fd, maxPacketSize=maxPacketSize
        ).listen(protocol),
    )


def adoptStreamConnection(reactor: Any, fileDescriptor: int, factory: IProtocolFactory) -> Any:
    """As ``reactor.adoptStreamConnection``: serve a duplicate of a connected descriptor, which
    stays the caller's to close.

    :returns: the protocol; None if the factory has built none, and the duplicate is closed.
    :raises OSError: for what is no connected TCP socket.
    """
    sock = CanonicalSocket(fileno=socket.dup(fileDescriptor))
    try:
        sock.setblocking(False)
        address = zoned(sock.getpeername())
        protocol = factory.buildProtocol(stream_address(address))
        if protocol is None:
            sock.close()
            return None
        # As tcp.Server does it itself: there is no port, and its number stands for a session's.
        number = sock.getsockname()[1]
        transport = tcp.Server(sock, protocol, address, None, address[1], reactor)  # type: ignore[arg-type]
        transport.repstr = f"<{type(protocol).__name__} #{address[1]} on {number}>"
    except BaseException:
        sock.close()
        raise
    protocol.makeConnection(transport)
    return protocol


def _listening(number: int, listen: Any) -> IListeningPort:
    duplicate = socket.dup(number)
    outcomes: list[Any] = []
    try:
        listen(duplicate).addBoth(outcomes.append)
    except BaseException:
        socket.close(duplicate)
        raise
    [outcome] = outcomes
    if isinstance(outcome, Failure):
        socket.close(duplicate)
        outcome.raiseException()
    port: IListeningPort = outcome
    return port
