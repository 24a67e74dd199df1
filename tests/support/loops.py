"""Event loops for tests of asyncio's adapter: the standard one, uvloop, and a third kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


class _Third(asyncio.AbstractEventLoop):
    """No kind of loop that anybody has heard of; another one does the work."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattribute__(self, name: str) -> Any:
        if name in ("_loop", "__class__", "__dict__"):
            return object.__getattribute__(self, name)
        return getattr(object.__getattribute__(self, "_loop"), name)

    def __hash__(self) -> int:
        return id(self)


def _on_asyncio(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return asyncio.run(main())


def _on_uvloop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    uvloop = pytest.importorskip("uvloop", reason="uvloop has no wheel for this machine")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def _on_a_third(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    async def disguised() -> T:
        asyncio._set_running_loop(_Third(asyncio.get_running_loop()))
        return await main()

    return asyncio.run(disguised())


LOOPS: dict[str, Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]] = {
    "asyncio": _on_asyncio,
    "uvloop": _on_uvloop,
    "third": _on_a_third,
}
