"""Twisted, by way of ``dsadapter.frameworks.twisted``."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

from twisted.internet import protocol
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python import log
from zope.interface import implementer

from dsadapter.frameworks.twisted import (
    DualStackClientEndpoint,
    DualStackDatagramEndpoint,
    DualStackServerEndpoint,
)
from dsadapter.interfaces import IPacketInfoReceiver
from dsadapter.packetinfo import PacketInfo
from dsadapter.testing import Driver, Report


def names(transport: Any) -> dict[str, Any]:
    handle = transport.getHandle()
    return {
        "peer": transport.getPeer(),
        "local": transport.getHost(),
        "handle_peer": getattr(handle, "getpeername", None),
        "handle_local": getattr(handle, "getsockname", None),
        "texts": [
            *(repr(transport.getPeer()), str(transport.getHost()), repr(handle), repr(transport)),
            *(getattr(transport, name, "") for name in ("logstr", "hostname")),
        ],
    }


@implementer(IHalfCloseableProtocol)
class Echo(protocol.Protocol):
    def __init__(self, report: Report, address: Any) -> None:
        self.report = report
        self.address = address

    def connectionMade(self) -> None:
        self.report(accepted=self.address, **names(self.transport))

    def dataReceived(self, data: bytes) -> None:
        log.msg("a line of the application")
        self.transport.write(data)  # type: ignore[union-attr]

    def readConnectionLost(self) -> None:
        self.transport.loseConnection()  # type: ignore[union-attr]

    def writeConnectionLost(self) -> None:
        pass


class EchoFactory(protocol.Factory):
    def __init__(self, report: Report) -> None:
        self.report = report

    def buildProtocol(self, addr: Any) -> Echo:
        return Echo(self.report, addr)


class Request(protocol.Protocol):
    """Asks once."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.answer = b""
        self.ended: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        self.report(**names(self.transport))
        self.transport.write(b"request")  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.answer += data
        if len(self.answer) == 7:
            self.transport.loseConnection()  # type: ignore[union-attr]

    def connectionLost(self, reason: Any = None) -> None:
        self.ended.callback(self.answer)


@implementer(IPacketInfoReceiver)
class Datagrams(protocol.DatagramProtocol):
    def __init__(self, report: Report) -> None:
        self.report = report

    def packetReceived(self, data: bytes, addr: Any, info: PacketInfo | None) -> None:
        assert info is not None
        self.report(source=addr, destination=info.destination, interface=info.interface_name)
        self.transport.write(data, addr)


class TwistedDriver(Driver):
    """A reactor in a thread."""

    reactor_kind = "select" if sys.platform == "win32" else "epoll"

    def __init__(self) -> None:
        self.ports: list[Any] = []
        self.datagrams: list[Datagrams] = []
        install_reactor(self.reactor_kind)
        from twisted.internet import reactor

        self.reactor: Any = reactor
        log.PythonLoggingObserver().start()
        threading.Thread(
            target=self.reactor.run, kwargs={"installSignalHandlers": False}, daemon=True
        ).start()

    def run(self, function: Any, *args: Any, **options: Any) -> Any:
        from twisted.internet.threads import blockingCallFromThread

        return blockingCallFromThread(self.reactor, maybeDeferred, function, *args, **options)

    def listen(
        self,
        host: str,
        port: int,
        report: Report,
        *,
        tls: str | None = None,
        descriptor: int | None = None,
        proxy: bool = False,
    ) -> list[Any]:
        if descriptor is not None:
            endpoint = serverFromString(self.reactor, f"dualstack:fd={descriptor}")
        elif tls is not None:
            file = quoteStringArgument(tls)
            words = f"dualstack:{port}:privateKey={file}:certKey={file}"
            endpoint = serverFromString(self.reactor, words)
        else:
            proxies = ["127.0.0.1"] if proxy else None
            endpoint = DualStackServerEndpoint(
                self.reactor, port, interface=host, proxyFrom=proxies
            )
        listened = self.run(endpoint.listen, EchoFactory(report))
        self.ports.append(listened)
        return [listened.getHost()]

    def connect(self, host: str, port: int, report: Report, *, source: str | None = None) -> None:
        def connect() -> Deferred[bytes]:
            bind_address = None if source is None else (source, 0)
            endpoint = DualStackClientEndpoint(self.reactor, host, port, bindAddress=bind_address)
            factory = protocol.Factory.forProtocol(lambda: Request(report))  # type: ignore[arg-type]
            return endpoint.connect(factory).addCallback(lambda made: made.ended)

        assert self.run(connect) == b"request"

    def bind(
        self, host: str, port: int, report: Report, *, peer: tuple[str, int] | None = None
    ) -> Any:
        def bind() -> Deferred[Any]:
            self.datagrams.append(Datagrams(report))
            endpoint = DualStackDatagramEndpoint(self.reactor, port, interface=host)
            return endpoint.listen(self.datagrams[-1])

        bound = self.run(bind)
        self.ports.append(bound)
        if peer is not None:
            self.run(bound.connect, *peer)
            report(peer=bound.socket.getpeername)
        return bound.getHost()

    def send(
        self, data: bytes, address: tuple[str, int] | None, *, source: str | None = None
    ) -> None:
        self.run(self.datagrams[-1].transport.write, data, address, source=source)

    def join(self, group: str, interface: str) -> None:
        self.run(self.datagrams[-1].transport.joinGroup, group, interface)

    def close(self) -> None:
        for port in self.ports:
            self.run(port.stopListening)
        self.ports, self.datagrams = [], []


def install_reactor(kind: str) -> None:
    from importlib import import_module

    module = {"epoll": "epollreactor", "asyncio": "asyncioreactor", "select": "selectreactor"}[kind]
    # On Windows Twisted takes asyncio's other loop only.
    loops = [asyncio.SelectorEventLoop()] if kind == "asyncio" else []
    import_module(f"twisted.internet.{module}").install(*loops)


class AsyncioReactorDriver(TwistedDriver):
    reactor_kind = "asyncio"
