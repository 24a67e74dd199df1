"""CPU time of a Twisted server per accepted connection, against Twisted's own endpoints."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Self

from benchmarks.processes import Worker, one_cpu_apart
from benchmarks.rounds import RATIO, Samples, interleave
from benchmarks.table import Table, Target

# Beside its peers, because a busy neighbour's slowness comes and goes within a round.
_SERVERS = ("two-sockets", "tcp", "dualstack", "observed", "tcp6")
_NAMES = {"two-sockets": "two sockets", "observed": "dualstack: with an observer"}
_CLIENTS = {"IPv4": (socket.AF_INET, "127.0.0.1"), "IPv6": (socket.AF_INET6, "::1")}
# Two processes that do the same differ by a few percent for life, by the layout of their memory.
_ROUNDS_PER_PROCESS = 20
_WAITING = 400
_ONE_BY_ONE = 100
_PAUSE = 0.001
_TIMEOUT = 30
_RESET = struct.pack("ii", 1, 0)


def tables(rounds: int | None) -> Iterator[Table]:
    yield _table(
        "Accepting what waits in the backlog",
        f"CPU time of a server process from where it resumes accepting, with {_WAITING} "
        "connections in its backlog, to its last connectionMade, per connection.",
        _measure(Server.accept_waiting, rounds or 120),
        {"tcp": Target(0.95), "tcp6": Target(0.85)},
    )
    yield _table(
        "Accepting one by one",
        f"CPU time of a server process, event loop included, while {_ONE_BY_ONE} connections "
        f"arrive {_PAUSE * 1e3:g} ms apart, per connection.",
        _measure(Server.accept_one_by_one, rounds or 20),
        {},
    )


def _table(title: str, method: str, samples: Samples, targets: dict[str, Target]) -> Table:
    table = Table(title, method, samples, "µs")
    for peer in ("tcp", "tcp6", "two-sockets"):
        table.compare(_name("dualstack", "IPv4"), _name(peer, "IPv4"), RATIO, targets.get(peer))
    for peer in ("tcp6", "two-sockets"):
        table.compare(_name("dualstack", "IPv6"), _name(peer, "IPv6"), RATIO)
    table.compare(_name("observed", "IPv4"), _name("dualstack", "IPv4"), RATIO)
    return table


def _name(server: str, client: str) -> str:
    return f"{_NAMES.get(server, f'{server}:')}, {client} client"


def _measure(way: Callable[[Server, str], float], rounds: int) -> Samples:
    samples = Samples()
    with one_cpu_apart() as server_cpus:
        while len(samples) < rounds:
            with ExitStack() as stack:
                starting = [Server(name, server_cpus) for name in _SERVERS]
                servers = [stack.enter_context(server) for server in starting]
                subjects = {
                    _name(server.name, client): _sample(way, server, client)
                    for client in _CLIENTS
                    for server in servers
                    if (server.name, client) != ("tcp", "IPv6")
                }
                interleave(subjects, min(_ROUNDS_PER_PROCESS, rounds - len(samples)), samples)
    return samples


def _sample(
    way: Callable[[Server, str], float], server: Server, client: str
) -> Callable[[], float]:
    return lambda: way(server, client)


class Server:
    """A server process, and the clients that connect to it."""

    def __init__(self, name: str, cpus: set[int] | None) -> None:
        self.name = name
        self._worker = Worker("accept_server.py", name, cpus=cpus)
        self._port = 0

    def __enter__(self) -> Self:
        self._port = int(self._worker.answer())
        return self

    def __exit__(self, *exception: object) -> None:
        self._worker.__exit__(*exception)

    def accept_waiting(self, client: str) -> float:
        self._hold(_WAITING)
        clients = [self._connect(client) for _ in range(_WAITING)]
        self._worker.say("resume")
        return self._finish(clients)

    def accept_one_by_one(self, client: str) -> float:
        self._hold(_ONE_BY_ONE)
        self._worker.say("resume")
        clients = []
        for _ in range(_ONE_BY_ONE):
            time.sleep(_PAUSE)
            clients.append(self._connect(client))
        return self._finish(clients)

    def _finish(self, clients: list[socket.socket]) -> float:
        elapsed = float(self._worker.answer())
        for connected in clients:
            # A reset leaves no TIME_WAIT behind for the next round.
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            connected.close()
        return elapsed / len(clients) * 1e6

    def _connect(self, client: str) -> socket.socket:
        family, host = _CLIENTS[client]
        connecting = socket.socket(family, socket.SOCK_STREAM)
        connecting.settimeout(_TIMEOUT)
        connecting.connect((host, self._port))
        return connecting

    def _hold(self, connections: int) -> None:
        self._worker.ask(f"hold {connections}")
