"""CPU time of asyncio's and uvloop's servers per connection, against the loop's own listeners."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Self

from benchmarks.crowd import connect
from benchmarks.processes import CLIENTS, Cpus, Process, Subjects, measure
from benchmarks.rounds import RATIO, Samples
from benchmarks.table import Table, Target

LOOPS = ("asyncio", "uvloop")
PACKAGES = ("uvloop",)
_LISTENERS = {
    "ipv4": ("its own on 0.0.0.0", "IPv4"),
    "ipv6": ("its own on ::", "IPv6"),
    "ours": ("dual-stack", "IPv4"),
    "ours-ipv6": ("dual-stack", "IPv6"),
    "observed": ("dual-stack with the Prometheus plugin", "IPv4"),
    "silent": ("dual-stack with a plugin that does nothing", "IPv4"),
    "counted": ("dual-stack, counted by the application itself", "IPv4"),
    "pair": ("a pair", "IPv4"),
    "least": ("the least that it takes", "IPv4"),
}
_WAITING = 400
_ONE_BY_ONE = 200
_LIVE = 50
_REQUESTS = 100
_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".ljust(100)
_ROUNDS_PER_PROCESS = 20


class LoopServer(Process):
    """A server of one loop with one kind of listener, and its clients."""

    script = "loop_server.py"

    def __init__(self, loop: str, listener: str, cpus: Cpus) -> None:
        super().__init__(self.script, loop, listener.removesuffix("-ipv6"), cpus=cpus)
        self.name, client = _LISTENERS[listener]
        self._host = CLIENTS[client]
        self._port = 0
        self.name = f"{self.name}, {client} client"

    def __enter__(self) -> Self:
        self._port = int(self.answer())
        return self

    def accepted(self, whole_life: bool) -> float:
        """Microseconds of CPU time for each connection that waits in the backlog."""
        self.ask(f"hold {_WAITING}")
        clients = self._clients(_WAITING)
        elapsed = float(self.ask("resume"))
        for client in clients:
            client.close()
        ended = float(self.ask("end"))
        return (elapsed + ended if whole_life else elapsed) / _WAITING * 1e6

    def one_by_one(self) -> float:
        """Microseconds of CPU time for each connection that is made, answered once and closed."""
        start = float(self.ask("cpu"))
        for _ in range(_ONE_BY_ONE):
            with connect(self._host, self._port) as client:
                client.sendall(_REQUEST)
                client.recv(len(_REQUEST), socket.MSG_WAITALL)
        return (float(self._settled()) - start) / _ONE_BY_ONE * 1e6

    def _settled(self) -> str:
        """CPU seconds when no connection is left."""
        self.ask("hold 1")
        with connect(self._host, self._port):
            self.ask("resume")
        self.ask("end")
        return self.ask("cpu")

    def kept_alive(self) -> float:
        """Microseconds of CPU time for each request of connections that send many, accepting and
        closing included."""
        start = float(self.ask("cpu"))
        clients = self._clients(_LIVE)
        for _ in range(_REQUESTS):
            for client in clients:
                client.sendall(_REQUEST)
            for client in clients:
                client.recv(len(_REQUEST), socket.MSG_WAITALL)
        for client in clients:
            client.close()
        return (float(self._settled()) - start) / _LIVE / _REQUESTS * 1e6

    def _clients(self, number: int) -> list[socket.socket]:
        return [connect(self._host, self._port) for _ in range(number)]


def tables(rounds: int | None) -> Iterator[Table]:
    for loop in LOOPS:
        accept = "asyncio" in loop
        table = Table(
            f"Accepting under {loop}",
            f"CPU time of a server process from where it turns to {_WAITING} connections in its "
            "backlog to its last connection_made, per connection.",
            _measure(loop, partial(LoopServer.accepted, whole_life=False), rounds or 60),
            "µs",
        )
        _compare(table, Target(1.05) if accept else Target(1.20), Target(1.03) if accept else None)
        if not accept:
            table.compare(_named("least"), _named("ipv4"), RATIO)
        yield table
        table = Table(
            f"A connection's whole life under {loop}",
            f"The same, and until the last of {_WAITING} connections is closed.",
            _measure(loop, partial(LoopServer.accepted, whole_life=True), rounds or 60),
            "µs",
        )
        _compare(table, None, None, Target(1.10))
        yield table
        table = Table(
            f"One request a connection under {loop}",
            f"CPU time of a server process, event loop included, while {_ONE_BY_ONE} connections "
            "are made one after the other, send one request each and are closed, per connection.",
            _measure(loop, LoopServer.one_by_one, rounds or 60),
            "µs",
        )
        _compare(table, Target(1.05) if accept else Target(1.20), Target(1.03) if accept else None)
        if not accept:
            table.compare(_named("least"), _named("ipv4"), RATIO)
        yield table
        table = Table(
            f"Many requests a connection under {loop}",
            f"CPU time of a server process, event loop included, while {_LIVE} connections are "
            f"made, send {_REQUESTS} requests each and are closed, per request.",
            _measure(loop, LoopServer.kept_alive, rounds or 60),
            "µs",
        )
        _compare(table, Target(1.02), None)
        yield table


def _compare(
    table: Table, ipv4: Target | None, ipv6: Target | None, observed: Target | None = None
) -> None:
    name = {listener: _named(listener) for listener in _LISTENERS}
    table.compare(name["ours"], name["ipv4"], RATIO, ipv4)
    table.compare(name["ours"], name["ipv6"], RATIO, ipv6)
    table.compare(name["ipv6"], name["ipv4"], RATIO)
    table.compare(name["ours-ipv6"], name["ipv6"], RATIO)
    table.compare(name["pair"], name["ipv4"], RATIO)
    table.compare(name["observed"], name["ours"], RATIO, observed)
    table.compare(name["silent"], name["ours"], RATIO)
    table.compare(name["counted"], name["ours"], RATIO)
    table.compare(name["observed"], name["counted"], RATIO)


def _named(listener: str) -> str:
    text, client = _LISTENERS[listener]
    return f"{text}, {client} client"


def _measure(loop: str, way: Callable[[LoopServer], float], rounds: int) -> Samples:
    def start(stack: ExitStack, cpus: Cpus) -> Subjects:
        kinds = [kind for kind in _LISTENERS if kind != "least" or loop == "uvloop"]
        starting = [LoopServer(loop, kind, cpus) for kind in kinds]
        servers = [stack.enter_context(server) for server in starting]
        return {server.name: partial(way, server) for server in servers}

    return measure(start, rounds, _ROUNDS_PER_PROCESS)
