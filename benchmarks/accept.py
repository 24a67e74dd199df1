"""CPU time of a Twisted server per accepted connection, against Twisted's own endpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

from benchmarks.processes import CLIENTS, Cpus, Server, Subjects, measure, named
from benchmarks.rounds import RATIO, Samples
from benchmarks.table import Table, Target

# Beside its peers, because a busy neighbour's slowness comes and goes within a round.
_SERVERS = ("two-sockets", "tcp", "dualstack", "observed", "tcp6")
_ROUNDS_PER_PROCESS = 20
_WAITING = 400
_ONE_BY_ONE = 100
_PAUSE = 0.001


def tables(rounds: int | None) -> Iterator[Table]:
    yield _table(
        "Accepting what waits in the backlog",
        f"CPU time of a server process from where it resumes accepting, with {_WAITING} "
        "connections in its backlog, to its last connectionMade, per connection.",
        _measure(partial(Server.accept_waiting, number=_WAITING), rounds or 120),
        {"tcp": Target(0.87), "tcp6": Target(0.78), "observed": Target(1.15)},
    )
    yield _table(
        "Accepting one by one",
        f"CPU time of a server process, event loop included, while {_ONE_BY_ONE} connections "
        f"arrive {_PAUSE * 1e3:g} ms apart, per connection.",
        _measure(partial(Server.accept_one_by_one, number=_ONE_BY_ONE, pause=_PAUSE), rounds or 20),
        {},
    )


def _table(title: str, method: str, samples: Samples, targets: dict[str, Target]) -> Table:
    table = Table(title, method, samples, "µs")
    for peer in ("tcp", "tcp6", "two-sockets"):
        table.compare(named("dualstack", "IPv4"), named(peer, "IPv4"), RATIO, targets.get(peer))
    for peer in ("tcp6", "two-sockets"):
        table.compare(named("dualstack", "IPv6"), named(peer, "IPv6"), RATIO)
    observed = targets.get("observed")
    table.compare(named("observed", "IPv4"), named("dualstack", "IPv4"), RATIO, observed)
    return table


def _measure(way: Callable[..., float], rounds: int) -> Samples:
    def start(stack: ExitStack, cpus: Cpus) -> Subjects:
        starting = [Server(name, cpus) for name in _SERVERS]
        servers = [stack.enter_context(server) for server in starting]
        return {
            named(server.name, client): partial(way, server, client)
            for client in CLIENTS
            for server in servers
            if (server.name, client) != ("tcp", "IPv6")
        }

    return measure(start, rounds, _ROUNDS_PER_PROCESS)
