"""Reactors that a test drives turn by turn."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet import asyncioreactor, selectreactor
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from support.descriptors import open_descriptors as open_descriptors
from support.processes import PATIENCE

T = TypeVar("T")


class Driven:
    """What lets a test take a reactor's turns."""

    iterate: Callable[[float], None]

    def until(self, condition: Callable[[], Any]) -> None:
        """Take turns until a condition holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "it did not come to pass"
            self.iterate(0.05)

    def result_of(self, deferred: Deferred[T] | None) -> T:
        """Take turns until a Deferred fires; raise what it failed with."""
        results: list[Any] = []
        assert deferred is not None
        deferred.addBoth(results.append)
        self.until(lambda: results)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]  # type: ignore[no-any-return]


class _OwnReactor(Driven):
    """A reactor that is not the process's and leaves no descriptor behind."""

    def resolve_names(self: Any) -> None:
        """Start what a running reactor has for its resolver: a pool of threads."""
        self.getThreadPool().start()

    def close(self: Any) -> None:
        # A test may have had it left with a number that is closed.
        with contextlib.suppress(OSError, KeyError):
            self.removeAll()
        for reader in list(self._internalReaders):
            reader.connectionLost(None)
        self._internalReaders.clear()
        for call in self.getDelayedCalls():
            call.cancel()
        self.getThreadPool().stop() if self.threadpool is not None else None


class SelectReactor(_OwnReactor, selectreactor.SelectReactor):
    pass


if sys.platform != "win32":
    from twisted.internet import epollreactor, pollreactor

    class Reactor(_OwnReactor, epollreactor.EPollReactor):
        """The one for tests that need no other."""

        def close(self) -> None:
            super().close()
            self._poller.close()

    class PollReactor(_OwnReactor, pollreactor.PollReactor):
        pass

else:
    from twisted.internet.iocpreactor.reactor import IOCPReactor

    Reactor = PollReactor = SelectReactor

    class CompletingReactor(_OwnReactor, IOCPReactor):
        pass


class AsyncioReactor(_OwnReactor, asyncioreactor.AsyncioSelectorReactor):
    def __init__(self) -> None:
        super().__init__(asyncio.SelectorEventLoop())

    def close(self) -> None:
        super().close()
        self._asyncioEventloop.close()


REACTORS: dict[str, type[_OwnReactor]] = {
    "epoll": Reactor,
    "poll": PollReactor,
    "select": SelectReactor,
    "asyncio": AsyncioReactor,
}
"""By what they wait with; where there is less, Windows, each once."""
if sys.platform == "win32":
    del REACTORS["epoll"], REACTORS["poll"]
