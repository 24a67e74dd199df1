"""What ``canonical:`` costs around another endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

from benchmarks.processes import CLIENTS, Cpus, Server, Subjects, measure, named
from benchmarks.rounds import RATIO, Samples
from benchmarks.streams import echo
from benchmarks.table import Table, Target

Pair = tuple[str, str]

_PAIRS: dict[str, Pair] = {
    "canonical:": ("canonical", "tcp6"),
    # As in canonical:haproxy: and canonical:tls:.
    "stand-ins, around another endpoint in between": ("stand-ins", "wrapping"),
}
_ROUNDS_PER_PROCESS = 10
_CONNECTIONS = 100
_PAUSE = 0.001
_WAITING = 400
_ECHO_CONNECTIONS = 50
_ECHO_SIZES = (16384, 100)


def tables(rounds: int | None) -> Iterator[Table]:
    for way, pair in _PAIRS.items():
        yield from _tables_of(way, pair, rounds)


def _tables_of(way: str, pair: Pair, rounds: int | None) -> Iterator[Table]:
    one_by_one = partial(Server.accept_one_by_one, number=_CONNECTIONS, pause=_PAUSE)
    yield _table(
        pair,
        f"Accepting one by one through {way}",
        f"CPU time of a server process, event loop included, while {_CONNECTIONS} connections "
        f"arrive {_PAUSE * 1e3:g} ms apart, per connection.",
        _measure(pair, one_by_one, rounds or 40),
        "µs",
        Target(1.15),
    )
    yield _table(
        pair,
        f"Accepting what waits in the backlog through {way}",
        f"CPU time of a server process from where it resumes accepting, with {_WAITING} "
        "connections in its backlog, to its last connectionMade, per connection.",
        _measure(pair, partial(Server.accept_waiting, number=_WAITING), rounds or 40),
        "µs",
        None,
    )
    for size in _ECHO_SIZES:
        yield _table(
            pair,
            f"Echo of {size:,} bytes through {way}",
            f"Bytes for each second of CPU time of a server process that always has some to read: "
            f"{_ECHO_CONNECTIONS} connections have {size:,} bytes each on the way.",
            _measure(pair, partial(_echo, size), rounds or 80),
            "MB/s",
            Target(1 / 1.05, at_least=True) if size > 1000 else None,
        )


def _table(
    pair: Pair, title: str, method: str, samples: Samples, unit: str, target: Target | None
) -> Table:
    table = Table(title, method, samples, unit)
    ours, inner = pair
    for client in CLIENTS:
        table.compare(named(ours, client), named(inner, client), RATIO, target)
    return table


def _echo(size: int, server: Server, client: str) -> float:
    with ExitStack() as stack:
        connections = [
            stack.enter_context(server.connect(client)) for _ in range(_ECHO_CONNECTIONS)
        ]
        return echo(server, connections, size)


def _measure(pair: Pair, way: Callable[..., float], rounds: int) -> Samples:
    def start(stack: ExitStack, cpus: Cpus) -> Subjects:
        starting = [Server(name, cpus) for name in pair]
        servers = [stack.enter_context(server) for server in starting]
        return {
            named(server.name, client): partial(way, server, client)
            for client in CLIENTS
            for server in servers
        }

    return measure(start, rounds, _ROUNDS_PER_PROCESS)
