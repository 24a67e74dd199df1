"""The server of the asyncio benchmarks: ``python -I loop_server.py LOOP LISTENER``.

Prints its port. From then on it answers each line of its standard input:

``hold N``
    once no connection is left, say so, and do nothing at all until ``resume``
``resume``
    print the CPU seconds from here to the Nth connection, and do nothing at all until ``end``
``end``
    print the CPU seconds from here to the end of the last connection
``cpu``
    print the CPU seconds since the process began
"""

from __future__ import annotations

import _socket
import asyncio
import gc
import os
import resource
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dsadapter import hookimpl
from dsadapter.frameworks.asyncio import create_server
from dsadapter.plugin import get_plugin_manager

BACKLOG = 1024
ADDRESS_FORM = 1
"""``IPV6_ADDRFORM`` (linux/in6.h)."""


class Connection(asyncio.Protocol):
    """Echoes, and is counted."""

    live = 0
    awaited: int | None = None
    then: Callable[[], None]
    transport: Any

    @classmethod
    def changed(cls, by: int) -> None:
        cls.live += by
        if cls.live == cls.awaited:
            cls.awaited = None
            cls.then()

    @classmethod
    def when(cls, live: int, then: Callable[[], None]) -> None:
        cls.awaited, cls.then = live, staticmethod(then)
        cls.changed(0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        Connection.changed(1)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        Connection.changed(-1)


def counted() -> type[Connection]:
    """What the application itself would count with ``prometheus_client``: two metrics when a
    connection is made and one when it is lost, their labels looked up before."""
    from prometheus_client import CollectorRegistry, Counter, Gauge

    registry = CollectorRegistry()
    made = Counter("made", "Made.", ["family"], registry=registry).labels("ipv4").inc
    gauge = Gauge("open", "Open.", ["family"], registry=registry).labels("ipv4")
    one_more, one_less = gauge.inc, gauge.dec

    class Counted(Connection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made()
            one_more()
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            one_less()

    return Counted


class Silent:
    """A plugin that does nothing."""

    @hookimpl
    def dsadapter_connection_made(self, connection: Any) -> None:
        pass

    @hookimpl
    def dsadapter_connection_lost(self, connection: Any) -> None:
        pass


def say(value: object) -> None:
    print(value, flush=True)


def next_word() -> list[str]:
    # libuv has made it non-blocking.
    os.set_blocking(sys.stdin.fileno(), True)
    return sys.stdin.readline().split()


class Control:
    """Reads commands; while it waits for one, so does the loop."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._start = 0.0

    def command(self) -> None:
        words = next_word()
        if not words:
            self._stop()
        elif words[0] == "cpu":
            say(time.process_time())
        else:
            self._wanted = int(words[1])
            Connection.when(0, self._hold)

    def _hold(self) -> None:
        # The same garbage for everybody: none.
        gc.collect()
        gc.disable()
        say("held")
        next_word()
        Connection.when(self._wanted, self._made)
        self._start = time.process_time()

    def _made(self) -> None:
        say(time.process_time() - self._start)
        next_word()
        Connection.when(0, self._ended)
        self._start = time.process_time()

    def _ended(self) -> None:
        say(time.process_time() - self._start)
        gc.enable()


def least() -> socket.socket:
    """The least that it takes to have a loop serve what it has not accepted, as IPv4 to everybody:
    one ``accept``, one option, one call of the loop's in two steps; nothing is checked, told of or
    kept."""
    loop = asyncio.get_running_loop()
    sock = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    sock.listen(BACKLOG)
    sock.setblocking(False)
    accept, make = _socket.socket._accept, _Accepted  # type: ignore[attr-defined]
    connect = loop.connect_accepted_socket

    in_a_row = 0

    def ready() -> None:
        nonlocal in_a_row
        calls = []
        in_a_row += 1
        try:
            # To find that nobody waits costs a system call and an exception.
            for _ in range(64 if in_a_row > 8 else 1):
                accepted = make(socket.AF_INET6, socket.SOCK_STREAM, 0, accept(sock)[0])
                accepted.setsockopt(socket.IPPROTO_IPV6, ADDRESS_FORM, socket.AF_INET)
                calls.append(connect(Connection, accepted))
                calls[-1].send(None)
        except BlockingIOError:
            in_a_row = 0
        loop.call_soon(end, calls)

    def end(calls: list[Any]) -> None:
        for call in calls:
            with suppress(StopIteration):
                call.send(None)

    loop.add_reader(sock.fileno(), ready)
    return sock


class _Accepted(_socket.socket):
    # As numbers, which cost no enum member.
    family, type = _socket.socket.family, _socket.socket.type
    close = _socket.socket.detach  # type: ignore[assignment]


async def listening(listener: str) -> Any:
    loop = asyncio.get_running_loop()
    if listener == "least":
        return SimpleNamespace(sockets=[least()])
    if listener == "ipv4":
        return await loop.create_server(Connection, "0.0.0.0", 0, backlog=BACKLOG)
    if listener == "ipv6":
        return await loop.create_server(Connection, "::", 0, backlog=BACKLOG)
    if listener == "counted":
        return await create_server(counted(), None, 0, backlog=BACKLOG)
    if listener == "silent":
        get_plugin_manager().register(Silent(), "silent")
    if listener == "observed":
        sys.path.append(str(Path(__file__).parents[1] / "plugins" / "dsadapter-prometheus"))
        from dsadapter_prometheus import plugin

        get_plugin_manager().register(plugin, "prometheus")
    mode: Any = "pair" if listener == "pair" else "dual-stack"
    return await create_server(Connection, None, 0, backlog=BACKLOG, mode=mode)


async def main(listener: str) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    server = await listening(listener)
    control = Control(stop.set)
    loop.add_reader(sys.stdin.fileno(), control.command)
    say(server.sockets[0].getsockname()[1])
    await stop.wait()


def run() -> None:
    loop, listener = sys.argv[1:]
    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(listener))


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    run()
