"""All that asyncio has to add to the datagram port: its waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from dsadapter.datagrams import DatagramPort

LIMIT = 1 << 18


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def run(port: DatagramPort, case: Callable[[Callable[..., Any]], Awaitable[None]]) -> None:
    """Have the loop watch an open port for as long as a case runs."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(port.sock, port.read, LIMIT)
        try:
            await case(until)
        finally:
            loop.remove_reader(port.sock)

    # On Windows the other loop waits for no socket.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(main())
