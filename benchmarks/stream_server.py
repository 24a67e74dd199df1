"""One server of the stream benchmarks: ``python -I stream_server.py NAME OPTIONS``.

OPTIONS are appended to its endpoint string. It echoes, prints its port, then answers the lines on
its standard input, and ends with them:

``keep N``
    once N connections are live, collect garbage, and say so; from here on they don't count
``hold N``
    once no other connection is left, stop accepting, and say so
``resume``
    accept again, and print the CPU seconds from here to the Nth connection, or with TLS to the
    end of the Nth handshake
``cpu``
    print the CPU seconds since the process began
``listen``
    open another listener, and say so
"""

from __future__ import annotations

import gc
import resource
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet import stdio
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IHandshakeListener, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.basic import LineReceiver
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from dsadapter import hookimpl
from dsadapter.frameworks.twisted import CanonicalServerEndpoint
from dsadapter.plugin import get_plugin_manager

reactor = cast(Any, _reactor)

BACKLOG = 1024
ENDPOINTS = {
    "tcp": f"tcp:0:backlog={BACKLOG}",
    "tcp6": rf"tcp6:0:interface=\:\::backlog={BACKLOG}",
    "ssl": f"ssl:0:backlog={BACKLOG}",
    "canonical": rf"canonical:tcp6:0:interface=\:\::backlog={BACKLOG}",
    "dualstack": f"dualstack:0:backlog={BACKLOG}",
    "observed": f"dualstack:0:backlog={BACKLOG}",
}


@implementer(IStreamServerEndpoint)
class Wrapping:
    """An endpoint that stands between the port and the application, as those of TLS do."""

    def listen(self, factory: Any) -> Any:
        inner = serverFromString(reactor, ENDPOINTS["tcp6"])
        return inner.listen(WrappingFactory(factory))


MADE = {"wrapping": Wrapping, "stand-ins": lambda: CanonicalServerEndpoint(Wrapping())}


class Observer:
    """A plugin that is told of every connection and does nothing."""

    @hookimpl
    def dsadapter_connection_made(self, connection: Any) -> None: ...

    @hookimpl
    def dsadapter_connection_lost(self, connection: Any) -> None: ...


class Connection(Protocol):
    factory: Connections

    def connectionMade(self) -> None:
        factory = self.factory
        factory.live += 1
        if factory.live == factory.awaited:
            factory.reached()

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure | None = None) -> None:
        factory = self.factory
        factory.live -= 1
        if factory.live == factory.awaited:
            factory.reached()


@implementer(IHandshakeListener)
class SecureConnection(Connection):
    """Counts when it can be used."""

    def connectionMade(self) -> None: ...

    def handshakeCompleted(self) -> None:
        super().connectionMade()


class Connections(Factory):
    protocol = Connection
    noisy = False
    live = 0
    awaited: int | None = None
    _then: Callable[[], None]

    def when(self, live: int, then: Callable[[], None]) -> None:
        """Call back once so many connections are live."""
        self.awaited = live
        self._then = then
        if self.live == live:
            self.reached()

    def reached(self) -> None:
        self.awaited = None
        self._then()


class Control(LineReceiver):
    delimiter = b"\n"

    def __init__(self, name: str, factory: Connections, ports: list[Any]) -> None:
        self._name = name
        self._factory = factory
        self._ports = ports
        self._kept = 0
        self._wanted = 0
        self._start = 0.0

    def connectionMade(self) -> None:
        self._say(self._ports[0].getHost().port)

    def lineReceived(self, line: bytes) -> None:
        command, *arguments = line.decode().split()
        getattr(self, f"do_{command}")(*map(int, arguments))

    def do_keep(self, number: int) -> None:
        self._factory.when(self._kept + number, self._keep)

    def _keep(self) -> None:
        self._kept = self._factory.live
        gc.collect()
        self._say("kept")

    def do_hold(self, number: int) -> None:
        self._wanted = number
        self._factory.when(self._kept, self._hold)

    def _hold(self) -> None:
        for port in self._ports:
            port.stopReading()
        # The same garbage for everybody: none.
        gc.collect()
        gc.disable()
        self._say("held")

    def do_resume(self) -> None:
        self._factory.when(self._kept + self._wanted, self._finish)
        self._start = time.process_time()
        for port in self._ports:
            port.startReading()

    def _finish(self) -> None:
        elapsed = time.process_time() - self._start
        gc.enable()
        self._say(elapsed)

    def do_cpu(self) -> None:
        self._say(time.process_time())

    def do_listen(self) -> None:
        listen(self._name, "", Factory.forProtocol(Protocol))
        self._say("listening")

    def connectionLost(self, reason: Failure | None = None) -> None:
        if reactor.running:
            reactor.stop()

    def _say(self, value: object) -> None:
        self.sendLine(str(value).encode())


def listen(name: str, options: str, factory: Factory) -> list[Any]:
    if name == "two-sockets":
        [port] = listen("tcp", options, factory)
        return [port, _listen_v6only(port.getHost().port, factory)]
    ports: list[Any] = []
    endpoint = (
        MADE[name]() if name in MADE else serverFromString(reactor, ENDPOINTS[name] + options)
    )
    endpoint.listen(factory).addCallback(ports.append)
    return ports


def _listen_v6only(port: int, factory: Factory) -> Any:
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(("::", port))
        sock.listen(BACKLOG)
        return reactor.adoptStreamPort(sock.fileno(), socket.AF_INET6, factory)


def main() -> None:
    name, options = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if name == "observed":
        get_plugin_manager().register(Observer())
    factory = Connections()
    if "privateKey=" in options:
        factory.protocol = SecureConnection
    stdio.StandardIO(Control(name, factory, listen(name, options, factory)))
    reactor.run()


if __name__ == "__main__":
    main()
