"""One server of the accept benchmark: ``python -I accept_server.py NAME``.

Prints its port, then answers the lines on its standard input, and ends with them:

``hold N``
    once no connection is left, stop accepting, and say so
``resume``
    accept again, and print the CPU seconds from here to the Nth connection
"""

from __future__ import annotations

import gc
import socket
import sys
import time
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet import stdio
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from dsadapter import hookimpl
from dsadapter.plugin import get_plugin_manager

reactor = cast(Any, _reactor)

BACKLOG = 1024
ENDPOINTS = {
    "tcp": f"tcp:0:backlog={BACKLOG}",
    "tcp6": rf"tcp6:0:interface=\:\::backlog={BACKLOG}",
    "dualstack": f"dualstack:0:backlog={BACKLOG}",
    "observed": f"dualstack:0:backlog={BACKLOG}",
}


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
        if factory.live == factory.wanted:
            factory.control.reached()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.factory.live -= 1
        if not self.factory.live:
            self.factory.control.emptied()


class Connections(Factory):
    protocol = Connection
    noisy = False
    live = 0
    wanted = 0
    control: Control


class Control(LineReceiver):
    delimiter = b"\n"

    def __init__(self, factory: Connections, ports: list[Any]) -> None:
        factory.control = self
        self._factory = factory
        self._ports = ports
        self._holding = False
        self._start = 0.0

    def connectionMade(self) -> None:
        self._say(self._ports[0].getHost().port)

    def lineReceived(self, line: bytes) -> None:
        command, *arguments = line.split()
        if command == b"hold":
            self._factory.wanted = int(*arguments)
            self._holding = True
            if not self._factory.live:
                self.emptied()
        else:
            self._start = time.process_time()
            for port in self._ports:
                port.startReading()

    def emptied(self) -> None:
        if not self._holding:
            return
        self._holding = False
        for port in self._ports:
            port.stopReading()
        # The same garbage for everybody: none.
        gc.collect()
        gc.disable()
        self._say("held")

    def reached(self) -> None:
        elapsed = time.process_time() - self._start
        gc.enable()
        self._say(elapsed)

    def connectionLost(self, reason: Failure | None = None) -> None:
        if reactor.running:
            reactor.stop()

    def _say(self, value: object) -> None:
        self.sendLine(str(value).encode())


def listen(name: str, factory: Factory) -> list[Any]:
    if name == "two-sockets":
        [port] = listen("tcp", factory)
        return [port, _listen_v6only(port.getHost().port, factory)]
    if name == "observed":
        get_plugin_manager().register(Observer())
    ports: list[Any] = []
    serverFromString(reactor, ENDPOINTS[name]).listen(factory).addCallback(ports.append)
    return ports


def _listen_v6only(port: int, factory: Factory) -> Any:
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(("::", port))
        sock.listen(BACKLOG)
        return reactor.adoptStreamPort(sock.fileno(), socket.AF_INET6, factory)


def main() -> None:
    factory = Connections()
    stdio.StandardIO(Control(factory, listen(sys.argv[1], factory)))
    reactor.run()


if __name__ == "__main__":
    main()
