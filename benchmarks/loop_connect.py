"""CPU time of asyncio's and uvloop's clients for a connect to an address literal."""

from __future__ import annotations

import asyncio
import gc
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
_TARGETS = {"asyncio": Target(1.05), "uvloop": Target(1.40)}


class _Client(asyncio.Protocol):
    def __init__(self) -> None:
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


async def _figure(connect: Callable[..., Any], host: str, port: int) -> float:
    """Microseconds of CPU time of this thread for each connection that is made and closed."""
    gc.collect()
    start = time.thread_time_ns()
    for _ in range(_NUMBER):
        _, client = await connect(_Client, host, port)
        await client.lost
    return (time.thread_time_ns() - start) / _NUMBER / 1000


async def _measure(rounds: int, ports: dict[str, int], into: Samples) -> None:
    loop = asyncio.get_running_loop()
    subjects = {
        _OURS: (create_connection, "127.0.0.1"),
        _OWN: (loop.create_connection, "127.0.0.1"),
        _OURS_IPV6: (create_connection, "::1"),
        _OWN_IPV6: (loop.create_connection, "::1"),
    }
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
            _run(loop, _measure(rounds or 60, ports, samples))
            table = Table(
                f"Connecting to a literal under {loop}",
                "CPU time of the client's thread, event loop included, for each connection that is "
                "made and aborted, one after the other.",
                samples,
                "µs",
            )
            table.compare(_OURS, _OWN, RATIO, _TARGETS[loop])
            table.compare(_OURS_IPV6, _OWN_IPV6, RATIO)
            yield table
