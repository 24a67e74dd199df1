"""Datagram ports, their protocols, and peers of both families."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from dsadapter.frameworks.twisted import DualStackDatagramEndpoint
from dsadapter.interfaces import IPacketInfoReceiver
from dsadapter.packetinfo.receiving import Receiver
from support.namespaces import Namespace
from support.peers import peer as peer
from support.reactors import Reactor

WAYS = ("recvmmsg", "recvmsg") if Receiver.batches else ("recvmsg",)
"""How a port receives: in batches, as it does by itself on Linux, or one by one."""


class Recorder(DatagramProtocol):
    """Records what it gets; answers with ``answer``, if it is set."""

    answer: bytes | None = None

    def __init__(self) -> None:
        self.got: list[tuple[bytes, Any]] = []
        self.refused = 0

    def datagramReceived(self, data: bytes, addr: Any) -> None:
        self.got.append((data, addr))
        if self.answer is not None:
            self.transport.write(self.answer, addr)

    def connectionRefused(self) -> None:
        self.refused += 1


class Echo(Recorder):
    """An unmodified server."""

    def datagramReceived(self, data: bytes, addr: Any) -> None:
        super().datagramReceived(data, addr)
        self.transport.write(data, addr)


@implementer(IPacketInfoReceiver)
class Informed(Recorder):
    """Records packet information, too."""

    def __init__(self) -> None:
        super().__init__()
        self.infos: list[Any] = []

    def packetReceived(self, data: bytes, addr: Any, info: Any) -> None:
        self.infos.append(info)
        super().datagramReceived(data, addr)


def listen(
    reactor: Reactor,
    protocol: Any,
    interface: str = "::",
    *,
    port: int = 0,
    way: str = WAYS[0],
    **kwargs: Any,
) -> Any:
    """The listening port of an endpoint."""
    with receiving(way):
        return reactor.result_of(
            DualStackDatagramEndpoint(reactor, port, interface=interface, **kwargs).listen(protocol)
        )


@contextlib.contextmanager
def listening(
    place: Namespace, reactor: Reactor, protocol: Any, *args: Any, **kwargs: Any
) -> Iterator[Any]:
    """Inside a namespace with an endpoint's listening port, which stops in the end."""
    with place.entered():
        port = listen(reactor, protocol, *args, **kwargs)
        try:
            yield port
        finally:
            reactor.result_of(port.stopListening())


@contextlib.contextmanager
def receiving(way: str) -> Iterator[None]:
    """What is opened now receives in batches, as it does by itself on Linux, or one by one."""
    before = Receiver.batches
    Receiver.batches = way == "recvmmsg"
    try:
        yield
    finally:
        Receiver.batches = before


def counters(port: Any) -> dict[str, int]:
    """Those that are not zero."""
    return {name: count for name, count in dataclasses.asdict(port.counters).items() if count}
