"""Event loops for tests of asyncio's adapter: the standard one, uvloop, and a third kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from support.windows import WINDOWS

T = TypeVar("T")


class _Third(asyncio.AbstractEventLoop):
    """No kind of loop that anybody has heard of; another one does the work."""

    def __init__(self) -> None:
        self._worker: Any = asyncio.SelectorEventLoop()
        # What the worker waits for is waited for in tasks of this loop.
        self._worker.create_future = self.create_future
        self._worker.create_task = self.create_task
        turn = self._worker._run_once

        def turn_of_this_loop() -> None:
            asyncio._set_running_loop(self)
            turn()

        self._worker._run_once = turn_of_this_loop

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_") or name in vars(_Third):
            return object.__getattribute__(self, name)
        return getattr(self._worker, name)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, **options)

    def run_until_complete(self, future: Any) -> Any:
        future = asyncio.ensure_future(future, loop=self)
        future.add_done_callback(lambda _: self._worker.stop())
        self._worker.run_forever()
        return future.result()


def _on_asyncio(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return asyncio.run(main())


def _on_uvloop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    uvloop = pytest.importorskip("uvloop", reason="uvloop has no wheel for this machine")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def _on_a_third(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    with asyncio.Runner(loop_factory=_Third) as runner:
        return runner.run(main())


def _on_a_selector(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(main())


LOOPS: dict[str, Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]] = {
    # On Windows its Proactor loop.
    "asyncio": _on_asyncio,
    # uvloop is not for Windows, where asyncio has two loops.
    **({"selector": _on_a_selector} if WINDOWS else {"uvloop": _on_uvloop}),
    "third": _on_a_third,
}
