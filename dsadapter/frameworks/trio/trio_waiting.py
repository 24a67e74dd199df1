"""How a Trio task waits for a race, and looks names up."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Sequence

import trio

from dsadapter.connector import Answer, Cancellable, Lookups
from dsadapter.connector.timers import Timers
from dsadapter.connector.waiting import Ready
from dsadapter.happy_eyeballs.outcomes import Outcomes
from dsadapter.messages import said_by
from dsadapter.policy import Family
from dsadapter.sockets.families import number_of


class RaceWaiting:
    """One task's waiting, as the connector knows it.

    :param nursery: the race's own.
    """

    now = staticmethod(trio.current_time)

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._timers = Timers(trio.current_time)
        self._changed = trio.Event()

    def call_later(self, seconds: float, function: Callable[[], object]) -> Cancellable:
        """Call a function in a later turn of :meth:`run_until`."""
        timer = self._timers.call_later(seconds, function)
        self._changed.set()
        return timer

    def when_writable(self, sock: socket.socket, ready: Ready) -> Cancellable:
        """Have a task of its own call a function whenever a socket is writable."""
        watch = _Watch(sock, ready)
        self._nursery.start_soon(watch.run, self)
        return watch

    def changed(self) -> None:
        """Have :meth:`run_until` look."""
        self._changed.set()

    async def run_until(self, over: Callable[[], bool]) -> None:
        """Call what is due, until a condition holds."""
        while True:
            self._timers.run_due()
            if over():
                return
            self._changed = trio.Event()
            due = self._timers.next_due
            with trio.CancelScope(deadline=math.inf if due is None else due):
                await self._changed.wait()


class _Watch:
    def __init__(self, sock: socket.socket, ready: Ready) -> None:
        self._sock: socket.socket | None = sock
        self._ready = ready

    def cancel(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None and sock.fileno() >= 0:
            # At once, before anybody closes it or waits for it anew.
            trio.lowlevel.notify_closing(sock)

    async def run(self, waiting: RaceWaiting) -> None:
        while (sock := self._sock) is not None:
            try:
                await trio.lowlevel.wait_writable(sock)
            except trio.ClosedResourceError:
                return
            except OSError as error:
                self._sock = None
                self._ready(error)
            else:
                self._ready()
            waiting.changed()


# Clocks and resolvers are the run's.
_lookups: trio.lowlevel.RunVar[Lookups] = trio.lowlevel.RunVar("dsadapter.lookups")
_outcomes: trio.lowlevel.RunVar[Outcomes] = trio.lowlevel.RunVar("dsadapter.outcomes")


def shared() -> tuple[Lookups, Outcomes]:
    """What the connects of a Trio run have in common."""
    try:
        return _lookups.get(), _outcomes.get()
    except LookupError:
        made = Lookups(), Outcomes()
        _lookups.set(made[0])
        _outcomes.set(made[1])
        return made


def look_up(host: str, families: Sequence[Family], answer: Answer) -> Cancellable:
    """Ask ``trio.socket.getaddrinfo``, in a task of nobody's: races of other tasks may wait for the
    same answer."""
    scope = trio.CancelScope()
    trio.lowlevel.spawn_system_task(_ask, scope, host, families, answer)
    return scope


async def _ask(
    scope: trio.CancelScope, host: str, families: Sequence[Family], answer: Answer
) -> None:
    family = number_of(families)
    with scope:
        failure = None
        try:
            found = await trio.socket.getaddrinfo(host, None, family, socket.SOCK_STREAM)
            for *_, address in found:
                answer.found(str(address[0]), int(address[3]) if len(address) == 4 else 0)
        except Exception as error:
            failure = said_by(error) or type(error).__name__
        answer.done(failure)
