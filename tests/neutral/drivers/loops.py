"""Running a test's body in a loop of each framework."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import trio
from support.windows import trio_starts

from . import asyncio_connecting, trio_connecting


def run_asyncio(body: Callable[[Any], Any]) -> None:
    async def main() -> None:
        await body(asyncio_connecting.Waiting())

    # On Windows the other loop waits for no socket.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(main())


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
EACH = ("asyncio", pytest.param("trio", marks=trio_starts))
"""The parameters of a test that runs on each."""
