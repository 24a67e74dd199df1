"""What live connections cost a Twisted server, against Twisted's own endpoints."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from benchmarks.processes import Cpus, Server, Subjects, measure, named, server_name
from benchmarks.rounds import RATIO, Samples
from benchmarks.table import Table, Target

_OURS = "dualstack"
_PEERS = {"IPv4": "tcp", "IPv6": "tcp6"}
"""What serves the same clients in Twisted's own way."""
_ECHO_ROUNDS_PER_PROCESS = 5
_ECHO_SIZES = (16384, 100)
_ECHO_CONNECTIONS = 50
_ECHO_TURNS = 10
_MEMORY_ROUNDS = 3
_LARGE_BLOCK = 128 << 10
"""What the C library counts as large when a process starts."""
_FEW = 100
_MANY = 10_000
_WAITING = 400
_LIVE_ROUNDS_PER_PROCESS = 12


def tables(rounds: int | None) -> Iterator[Table]:
    for size in _ECHO_SIZES:
        yield _echo_table(size, rounds or 240)
    for number in (1_000, _MANY):
        yield _memory_table(number, True, Target(1.02), rounds or _MEMORY_ROUNDS)
    for number, target in ((_MANY, Target(1.02)), (12_000, None)):
        yield _memory_table(number, False, target, rounds or _MEMORY_ROUNDS)
    yield _descriptors_table()
    yield _live_table(rounds or 48)


def _echo_table(size: int, rounds: int) -> Table:
    def start(stack: ExitStack, cpus: Cpus) -> Subjects:
        starting = [Server(name, cpus) for name in (_OURS, *_PEERS.values())]
        servers = [stack.enter_context(server) for server in starting]
        return {
            named(server.name, client): partial(
                echo,
                server,
                [stack.enter_context(server.connect(client)) for _ in range(_ECHO_CONNECTIONS)],
                size,
            )
            for client, peer in _PEERS.items()
            for server in servers
            if server.name in (_OURS, peer, "tcp6")
        }

    table = Table(
        f"Echo of {size:,} bytes",
        f"Bytes for each second of CPU time of a server process that always has some to read: "
        f"{_ECHO_CONNECTIONS} connections have {size:,} bytes each on the way.",
        measure(start, rounds, _ECHO_ROUNDS_PER_PROCESS),
        "MB/s",
    )
    for client, peer in _PEERS.items():
        target = Target(0.98, at_least=True)
        table.compare(named(_OURS, client), named(peer, client), RATIO, target)
    # What the kernel does for mapped addresses, apart from what this package does.
    table.compare(named(_OURS, "IPv4"), named("tcp6", "IPv4"), RATIO)
    table.compare(named("tcp6", "IPv4"), named("tcp", "IPv4"), RATIO)
    return table


def echo(server: Server, connections: list[socket.socket], size: int) -> float:
    """Bytes for each second of CPU time of a server that echoes."""
    message = bytes(size)
    received = memoryview(bytearray(size))
    start = server.cpu_time()
    for connected in connections:
        connected.sendall(message)
    for turn in range(_ECHO_TURNS):
        for connected in connections:
            missing = size
            while missing:
                missing -= connected.recv_into(received, missing)
            if turn < _ECHO_TURNS - 1:
                connected.sendall(message)
    elapsed = server.cpu_time() - start
    return _ECHO_TURNS * len(connections) * size / elapsed / 1e6


def _memory_table(number: int, even: bool, target: Target | None, rounds: int) -> Table:
    """
    :param even: whether large blocks of memory always come from the system, and go back to it.
    """
    environment = {"MALLOC_MMAP_THRESHOLD_": str(_LARGE_BLOCK)} if even else {}
    pairs = [(server, client) for client, peer in _PEERS.items() for server in (_OURS, peer)]
    if even:
        pairs.append(("observed", "IPv4"))

    def start(_stack: ExitStack, cpus: Cpus) -> Subjects:
        return {
            named(*pair): partial(_resident, *pair, number, cpus, environment) for pair in pairs
        }

    method = "Growth of the resident memory of a fresh server process, per connection"
    if even:
        method += f", with MALLOC_MMAP_THRESHOLD_={_LARGE_BLOCK}"
    table = Table(
        f"Memory of {number:,} idle connections" + ("" if even else ", by default"),
        f"{method}.",
        measure(start, rounds, rounds),
        "bytes",
    )
    for client, peer in _PEERS.items():
        table.compare(named(_OURS, client), named(peer, client), RATIO, target)
    if even:
        table.compare(named("observed", "IPv4"), named(_OURS, "IPv4"), RATIO)
    return table


def _resident(
    name: str, client: str, number: int, cpus: Cpus, environment: dict[str, str]
) -> float:
    with Server(name, cpus, environment=environment) as server:
        server.ask("keep 0")
        before = server.resident()
        with server.kept(client, number):
            return (server.resident() - before) / number


def _descriptors_table() -> Table:
    table = Table(
        "Descriptors",
        "File descriptors that a server process has more when it has one listener more, and when "
        f"it has {_FEW} connections.",
        Samples(),
        "",
    )
    for name in (_OURS, "tcp", "two-sockets"):
        with Server(name, None) as server:
            before = server.descriptors()
            server.ask("listen")
            listening = server.descriptors()
            with server.kept("IPv4", _FEW):
                connected = server.descriptors()
        ours = name == _OURS
        table.count(
            f"{server_name(name)}, listener", listening - before, Target(1) if ours else None
        )
        table.count(
            f"{server_name(name)}, {_FEW} connections",
            connected - listening,
            Target(_FEW) if ours else None,
        )
    return table


def _live_table(rounds: int) -> Table:
    def start(stack: ExitStack, cpus: Cpus) -> Subjects:
        subjects: Subjects = {}
        for name in (_OURS, "tcp"):
            for live in (_FEW, _MANY):
                server = stack.enter_context(Server(name, cpus))
                stack.enter_context(server.kept("IPv4", live))
                subjects[_live(name, live)] = partial(server.accept_waiting, "IPv4", _WAITING)
        return subjects

    table = Table(
        "Accepting beside live connections",
        f"CPU time of a server process that has idle connections, from where it resumes accepting, "
        f"with {_WAITING} connections in its backlog and without garbage collection, to its last "
        "connectionMade, per connection.",
        measure(start, rounds, _LIVE_ROUNDS_PER_PROCESS),
        "µs",
    )
    table.compare(_live(_OURS, _MANY), _live(_OURS, _FEW), RATIO, Target(1.15))
    table.compare(_live("tcp", _MANY), _live("tcp", _FEW), RATIO)
    table.compare(_live(_OURS, _MANY), _live("tcp", _MANY), RATIO)
    return table


def _live(name: str, number: int) -> str:
    return f"{server_name(name)} beside {number:,} connections"
