"""How an AnyIO task waits for a race, and looks names up."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Sequence

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import RunVar

from dsadapter.connector import Answer, Cancellable
from dsadapter.connector.timers import Timers
from dsadapter.connector.waiting import Ready
from dsadapter.happy_eyeballs.outcomes import Outcomes
from dsadapter.messages import said_by
from dsadapter.policy import Family
from dsadapter.sockets.families import number_of


class RaceWaiting:
    """One task's waiting, as the connector knows it.

    :param group: the race's own.
    """

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self._timers = Timers(anyio.current_time)
        self._changed = anyio.Event()

    def now(self) -> float:
        """Seconds on the loop's clock."""
        return anyio.current_time()

    def call_later(self, seconds: float, function: Callable[[], object]) -> Cancellable:
        """Call a function in a later turn of :meth:`run_until`."""
        timer = self._timers.call_later(seconds, function)
        self._changed.set()
        return timer

    def when_writable(self, sock: socket.socket, ready: Ready) -> Cancellable:
        """Have a task of its own call a function whenever a socket is writable."""
        watch = _Watch(sock, ready)
        self._group.start_soon(watch.run, self)
        return watch

    def look_up(self, host: str, families: Sequence[Family], answer: Answer) -> Cancellable:
        """Ask ``anyio.getaddrinfo``, in a task of its own."""
        scope = anyio.CancelScope()
        self._group.start_soon(self._ask, scope, host, families, answer)
        return scope

    def changed(self) -> None:
        """Have :meth:`run_until` look."""
        self._changed.set()

    async def run_until(self, over: Callable[[], bool]) -> None:
        """Call what is due, until a condition holds."""
        while True:
            self._timers.run_due()
            if over():
                return
            self._changed = anyio.Event()
            due = self._timers.next_due
            with anyio.CancelScope(deadline=math.inf if due is None else due):
                await self._changed.wait()

    async def _ask(
        self, scope: anyio.CancelScope, host: str, families: Sequence[Family], answer: Answer
    ) -> None:
        family = number_of(families)
        with scope:
            failure = None
            try:
                found = await anyio.getaddrinfo(
                    host,
                    None,
                    family=socket.AddressFamily(family),
                    type=socket.SOCK_STREAM,
                )
                for *_, address in found:
                    bare, _, zone = str(address[0]).partition("%")
                    answer.found(bare, zone or 0)
            except Exception as error:
                failure = said_by(error) or type(error).__name__
            answer.done(failure)


class _Watch:
    def __init__(self, sock: socket.socket, ready: Ready) -> None:
        self._sock: socket.socket | None = sock
        self._ready = ready

    def cancel(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None and sock.fileno() >= 0:
            # At once, before anybody closes it or waits for it anew.
            anyio.notify_closing(sock)

    async def run(self, waiting: RaceWaiting) -> None:
        while (sock := self._sock) is not None:
            try:
                await anyio.wait_writable(sock)
            except anyio.ClosedResourceError:
                return
            except OSError as error:
                self._sock = None
                self._ready(error)
            else:
                self._ready()
            waiting.changed()


_outcomes: RunVar[Outcomes] = RunVar("dsadapter.outcomes")


def shared_outcomes() -> Outcomes:
    """What the connects of an event loop remember."""
    try:
        return _outcomes.get()
    except LookupError:
        _outcomes.set(made := Outcomes())
        return made
