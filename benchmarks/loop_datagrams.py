"""CPU time of datagram endpoints of asyncio and uvloop per datagram, against the loop's own."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from benchmarks.rounds import RATIO, Samples
from benchmarks.table import Table, Target
from dsadapter.frameworks.asyncio import create_datagram_endpoint

PACKAGES = ("uvloop",)
_BURSTS = (1, 32)
_DATAGRAMS = 1600
_SIZE = 100
_OURS, _OWN = "dual-stack", "its own on 0.0.0.0"
# What the prototypes reached; one at a time is mostly the loop itself.
_TARGETS = {("asyncio", 32): Target(0.4), ("uvloop", 32): Target(1.2)}


class _Sink(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received = 0
        self.awaited = 0
        self.reached: asyncio.Future[None] | None = None

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received += 1
        if self.received == self.awaited and self.reached is not None:
            self.reached.set_result(None)


async def _figure(transport: Any, sink: _Sink, client: socket.socket, burst: int) -> float:
    """Microseconds of CPU time of this thread for each datagram, those of sending left out."""
    send, clock = client.send, time.thread_time_ns
    datagram = bytes(_SIZE)
    loop = asyncio.get_running_loop()
    elapsed = 0
    turns = _DATAGRAMS // burst
    for _ in range(turns):
        for _ in range(burst):
            send(datagram)
        sink.awaited = sink.received + burst
        sink.reached = loop.create_future()
        start = clock()
        await sink.reached
        elapsed += clock() - start
    return elapsed / turns / burst / 1000


def _run(loop: str, main: Coroutine[Any, Any, None]) -> None:
    factory: Any = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


async def _measure(burst: int, rounds: int, into: Samples) -> None:
    loop = asyncio.get_running_loop()
    make: dict[str, Callable[[Any], Any]] = {
        _OURS: create_datagram_endpoint,
        _OWN: lambda factory: loop.create_datagram_endpoint(factory, ("0.0.0.0", 0)),
    }
    subjects = {}
    for name, endpoint in make.items():
        transport, sink = await endpoint(_Sink)
        client = socket.socket(type=socket.SOCK_DGRAM)
        client.connect(("127.0.0.1", transport.get_extra_info("sockname")[1]))
        subjects[name] = transport, sink, client
    for number in range(rounds + 1):
        figures = {name: await _figure(*subject, burst) for name, subject in subjects.items()}
        # The first pays for cold caches.
        if number:
            into.add(figures)
        subjects = dict(reversed(subjects.items()))
    for transport, _, client in subjects.values():
        client.close()
        transport.abort()
    await asyncio.sleep(0.01)


def tables(rounds: int | None) -> Iterator[Table]:
    for loop in ("asyncio", "uvloop"):
        for burst in _BURSTS:
            samples = Samples()
            _run(loop, _measure(burst, rounds or 40, samples))
            waiting = f"{burst} waiting" if burst > 1 else "one by one"
            table = Table(
                f"Datagrams under {loop}: {waiting}",
                f"CPU time of the loop until a protocol has counted {burst} datagrams of {_SIZE} "
                "bytes that an IPv4 peer has sent, per datagram.",
                samples,
                "µs",
            )
            table.compare(_OURS, _OWN, RATIO, _TARGETS.get((loop, burst)))
            yield table
