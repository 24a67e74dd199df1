"""CPU time of asyncio's and uvloop's clients for a connect to an address literal."""

from __future__ import annotations

import _socket
import asyncio
import gc
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from benchmarks.processes import Process, one_cpu_apart
from benchmarks.rounds import RATIO, Samples
from benchmarks.table import Table, Target
from dsadapter.frameworks.asyncio import create_connection

PACKAGES = ("uvloop",)
_NUMBER = 200
_OURS, _OWN = "dual-stack, to 127.0.0.1", "its own, to 127.0.0.1"
_OURS_IPV6, _OWN_IPV6 = "dual-stack, to ::1", "its own, to ::1"
_LEAST, _LEAST_IPV6 = "the least that it takes, to 127.0.0.1", "the least that it takes, to ::1"
_V6ONLY = socket.IPV6_V6ONLY
_FORM = 1
"""``IPV6_ADDRFORM`` (linux/in6.h)."""
_TARGETS = {"asyncio": Target(1.05), "uvloop": Target(1.40)}


class _Client(asyncio.Protocol):
    def __init__(self) -> None:
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


class _Socket(_socket.socket):
    # As numbers, which cost no enum member.
    family, type = _socket.socket.family, _socket.socket.type


async def _least(factory: Callable[[], Any], host: str, port: int) -> Any:
    """The least that it takes to have a loop serve what is connected through a dual-stack socket,
    as IPv4 to everybody: a socket, an option, a connect, an option, one call of the loop's; nothing
    is parsed, checked, told of or kept, and it must connect at once."""
    sock: Any = _Socket(
        socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, socket.IPPROTO_TCP
    )
    sock.setsockopt(socket.IPPROTO_IPV6, _V6ONLY, 0)
    if ":" in host:
        sock.connect_ex((host, port, 0, 0))
    else:
        sock.connect_ex((f"::ffff:{host}", port, 0, 0))
        sock.setsockopt(socket.IPPROTO_IPV6, _FORM, socket.AF_INET)
    made = await asyncio.get_running_loop().create_connection(factory, sock=sock)
    # The client has aborted it, and uvloop closed the descriptor.
    sock.detach()
    return made


async def _figure(connect: Callable[..., Any], host: str, port: int) -> float:
    """Microseconds of CPU time of this thread for each connection that is made and closed."""
    gc.collect()
    start = time.thread_time_ns()
    for _ in range(_NUMBER):
        _, client = await connect(_Client, host, port)
        await client.lost
    return (time.thread_time_ns() - start) / _NUMBER / 1000


async def _measure(rounds: int, ports: dict[str, int], has_least: bool, into: Samples) -> None:
    loop = asyncio.get_running_loop()
    subjects: dict[str, tuple[Callable[..., Any], str]] = {
        _OURS: (create_connection, "127.0.0.1"),
        _OWN: (loop.create_connection, "127.0.0.1"),
        _OURS_IPV6: (create_connection, "::1"),
        _OWN_IPV6: (loop.create_connection, "::1"),
    }
    if has_least:
        subjects |= {_LEAST: (_least, "127.0.0.1"), _LEAST_IPV6: (_least, "::1")}
    for number in range(rounds + 1):
        figures = {
            name: await _figure(connect, host, ports[host])
            for name, (connect, host) in subjects.items()
        }
        # The first pays for cold caches.
        if number:
            into.add(figures)
        subjects = dict(reversed(subjects.items()))


def _run(loop: str, main: Coroutine[Any, Any, None]) -> None:
    factory: Any = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


def tables(rounds: int | None) -> Iterator[Table]:
    hosts = "127.0.0.1", "::1"
    # A process: a thread would take the interpreter away at every call of the client.
    with one_cpu_apart() as cpus, Process("connect_server.py", 0, "", *hosts, cpus=cpus) as server:
        ports = dict(zip(hosts, map(int, server.answer().split()), strict=True))
        for loop in _TARGETS:
            samples = Samples()
            _run(loop, _measure(rounds or 60, ports, loop == "uvloop", samples))
            table = Table(
                f"Connecting to a literal under {loop}",
                "CPU time of the client's thread, event loop included, for each connection that is "
                "made and aborted, one after the other.",
                samples,
                "µs",
            )
            table.compare(_OURS, _OWN, RATIO, _TARGETS[loop])
            table.compare(_OURS_IPV6, _OWN_IPV6, RATIO)
            if loop == "uvloop":
                table.compare(_LEAST, _OWN, RATIO)
                table.compare(_LEAST_IPV6, _OWN_IPV6, RATIO)
            yield table
