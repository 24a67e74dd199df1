"""All that Trio has to add to the datagram port: its waiting."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from dsadapter.datagrams import DatagramPort

LIMIT = 1 << 18


async def until(condition: Callable[[], Any]) -> None:
    with trio.fail_after(20):
        while not condition():
            await trio.sleep(0.001)


def run(port: DatagramPort, case: Callable[[Callable[..., Any]], Awaitable[None]]) -> None:
    """Have a task watch an open port for as long as a case runs."""

    async def watch() -> None:
        while True:
            await trio.lowlevel.wait_readable(port.sock)
            port.read(LIMIT)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await case(until)
            nursery.cancel_scope.cancel()

    trio.run(main)
