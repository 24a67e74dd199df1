"""Running a test's body in a loop of each framework."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import trio

from . import asyncio_connecting, trio_connecting


def run_asyncio(body: Callable[[Any], Any]) -> None:
    async def main() -> None:
        await body(asyncio_connecting.Waiting())

    asyncio.run(main())


def run_trio(body: Callable[[Any], Any]) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await body(trio_connecting.Waiting(nursery))
            nursery.cancel_scope.cancel()

    trio.run(main)


LOOPS: dict[str, tuple[Callable[[Callable[[Any], Any]], None], Any]] = {
    "asyncio": (run_asyncio, asyncio.sleep),
    "trio": (run_trio, trio.sleep),
}
