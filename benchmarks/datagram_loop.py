"""Endpoints and their peers in a process: ``python -I datagram_loop.py LOOP BURST ROUNDS FREED``.

Prints a line of JSON: for every round the microseconds of CPU time of the loop per datagram, ours
first. FREED is how many bytes the process has had in one block, and freed, before.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from dsadapter.frameworks.asyncio import create_datagram_endpoint

_DATAGRAMS = 1600
_SIZE = 100


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


async def _measure(burst: int, rounds: int) -> list[list[float]]:
    loop = asyncio.get_running_loop()
    endpoints: list[Callable[[Any], Any]] = [
        create_datagram_endpoint,
        lambda factory: loop.create_datagram_endpoint(factory, ("0.0.0.0", 0)),
    ]
    subjects = []
    for endpoint in endpoints:
        transport, sink = await endpoint(_Sink)
        client = socket.socket(type=socket.SOCK_DGRAM)
        client.connect(("127.0.0.1", transport.get_extra_info("sockname")[1]))
        subjects.append((transport, sink, client))
    measured = []
    for number in range(rounds + 1):
        turn = 1 if number % 2 else -1
        figures = [await _figure(*subject, burst) for subject in subjects[::turn]]
        # The first pays for cold caches.
        if number:
            measured.append(figures[::turn])
    for transport, _, client in subjects:
        client.close()
        transport.abort()
    await asyncio.sleep(0.01)
    return measured


def main(loop: str, burst: str, rounds: str, freed: str) -> None:
    factory: Any = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    bytes(int(freed))
    with asyncio.Runner(loop_factory=factory) as runner:
        print(json.dumps(runner.run(_measure(int(burst), int(rounds)))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
