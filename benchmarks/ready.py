"""CPU time of servers of others per request on a ready socket, against their own IPv4 listener."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Self

from benchmarks.crowd import connect
from benchmarks.processes import CLIENTS, Cpus, Process, Subjects, measure
from benchmarks.rounds import RATIO
from benchmarks.table import Table, Target

PACKAGES = ("uvicorn",)

_ROUNDS_PER_PROCESS = 20
_REQUESTS = 100
_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_SOCKETS = {
    "uvicorn": ("ipv4", "ready", "ipv6", "observed"),
    "http.server": ("ipv4", "ready", "mixin", "ipv6", "observed"),
}
_NAMES = {
    "ipv4": "its own IPv4 socket",
    "ipv6": "a plain dual-stack socket",
    "ready": "a ready socket",
    "observed": "a ready socket, with an observer",
    "mixin": "DualStackMixin",
}
_BOUND = {"uvicorn": Target(1.05), "http.server": Target(1.03)}


def tables(rounds: int | None) -> Iterator[Table]:
    for server in _SOCKETS:
        yield _table(server, rounds or 200)


def _table(server: str, rounds: int) -> Table:
    kinds = _SOCKETS[server]

    def start(stack: ExitStack, cpus: Cpus) -> Subjects:
        starting = [_Server(server, kind, cpus) for kind in kinds]
        servers = [stack.enter_context(each) for each in starting]
        return {_NAMES[each.kind]: partial(each.requests, _REQUESTS) for each in servers}

    table = Table(
        f"Requests to {server}",
        f"CPU time of a server process for each of {_REQUESTS} requests by IPv4, one after the "
        "other, each on a connection of its own; no access log.",
        measure(start, rounds, _ROUNDS_PER_PROCESS),
        "µs",
    )
    own = _NAMES["ipv4"]
    for kind in kinds[1:]:
        bound = _BOUND[server] if kind in ("ready", "mixin") else None
        table.compare(_NAMES[kind], own, RATIO, bound)
    return table


class _Server(Process):
    def __init__(self, server: str, kind: str, cpus: Cpus) -> None:
        super().__init__("ready_server.py", server, kind, cpus=cpus)
        self.kind = kind
        self._port = 0

    def __enter__(self) -> Self:
        self._port = int(self.answer())
        return self

    def requests(self, number: int) -> float:
        """Microseconds of CPU time for each of so many requests."""
        before = float(self.ask("cpu"))
        for _ in range(number):
            with connect(CLIENTS["IPv4"], self._port) as client:
                client.sendall(_REQUEST)
                while client.recv(65536):
                    pass
        return (float(self.ask("cpu")) - before) / number * 1e6
