"""A race that one task waits for, in a framework of coroutines."""

from __future__ import annotations

import errno
import math
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.connector.lookups import Answer, LookUp
from dsadapter.connector.os_errors import error_with_attempts
from dsadapter.connector.shared import Connector
from dsadapter.connector.story import Unconnected
from dsadapter.connector.timers import Timers
from dsadapter.connector.waiting import Cancellable, Ready
from dsadapter.coroutines import CoroutineWaiting, Tasks
from dsadapter.errors import plugin_errors_as_os_errors
from dsadapter.hooks.dispatch import Hooks
from dsadapter.hooks.manager import active_hooks
from dsadapter.messages import said_by
from dsadapter.policy import ConnectPolicy, Family, socket_name
from dsadapter.sockets.canonical import CanonicalSocket
from dsadapter.sockets.families import number_of

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class TaskWaiting:
    """One task's waiting, as the connector knows it.

    :param tasks: open for as long as the race runs.
    """

    def __init__(self, how: CoroutineWaiting, tasks: Tasks) -> None:
        self.tasks = tasks
        self.now = how.now
        self._how = how
        self._timers = Timers(how.now)
        self._changed = how.event()

    def call_later(self, seconds: float, function: Callable[[], object]) -> Cancellable:
        """Call a function in a later turn of :meth:`run_until`."""
        timer = self._timers.call_later(seconds, function)
        self._changed.set()
        return timer

    def when_writable(self, sock: socket.socket, ready: Ready) -> Cancellable:
        """Have a task of its own call a function whenever a socket is writable."""
        watch = _Watch(self._how, sock, ready)
        self.tasks.start_soon(watch.run, self.changed)
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
            self._changed = self._how.event()
            due = self._timers.next_due
            with self._how.until(math.inf if due is None else due):
                await self._changed.wait()

    async def run_last(self) -> None:
        """Call what a race that has been given up has left for the next turn."""
        if self._timers.next_due is not None:
            await self._how.cancel_shielded_checkpoint()
            self._timers.run_due()


class _Watch:
    def __init__(self, how: CoroutineWaiting, sock: socket.socket, ready: Ready) -> None:
        self._how = how
        self._sock: socket.socket | None = sock
        self._ready = ready

    def cancel(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None and sock.fileno() >= 0:
            # At once, before anybody closes it or waits for it anew.
            self._how.notify_closing(sock)

    async def run(self, changed: Callable[[], object]) -> None:
        while (sock := self._sock) is not None:
            try:
                await self._how.until_writable(sock)
            except self._how.closed:
                return
            except OSError as error:
                self._sock = None
                self._ready(error)
            else:
                self._ready()
            changed()


class Scope(Cancellable, AbstractContextManager[Any], Protocol):
    """What a task can be told to leave."""


def look_up_by(
    getaddrinfo: Callable[..., Awaitable[Any]],
    start_soon: Callable[..., object],
    new_scope: Callable[[], Scope],
) -> LookUp:
    """A way to ask a framework's own resolver, in a task that ``start_soon`` begins."""

    async def ask(scope: Scope, host: str, families: Sequence[Family], answer: Answer) -> None:
        family = socket.AddressFamily(number_of(families))
        with scope:
            failure = None
            try:
                found = await getaddrinfo(host, None, family=family, type=socket.SOCK_STREAM)
                for *_, address in found:
                    # As getaddrinfo has a zone, or as AnyIO has it.
                    bare, _, zone = str(address[0]).partition("%")
                    number = int(address[3]) if len(address) == 4 else 0
                    answer.found(bare, zone or number)
            except Exception as error:
                failure = said_by(error) or type(error).__name__
            answer.done(failure)

    def look_up(host: str, families: Sequence[Family], answer: Answer) -> Cancellable:
        scope = new_scope()
        start_soon(ask, scope, host, families, answer)
        return scope

    return look_up


class Taking(Protocol[T_co]):
    """What makes a framework's connection of a socket."""

    async def __call__(
        self, sock: CanonicalSocket, ipv4: bool, lost: Callable[[], None] | None
    ) -> T_co:
        """:param ipv4: whether it is connected to an IPv4 peer.
        :param lost: to be called when the connection is lost; None if nobody wants to know.
        """


async def connect_in_task(
    how: CoroutineWaiting,
    connector_of: Callable[[TaskWaiting, Hooks], Connector],
    target: tuple[str, int],
    policy: ConnectPolicy,
    take: Taking[T],
    *,
    groups: bool,
) -> T:
    """Race, and hand the winner over.

    :param target: as :func:`~dsadapter.policy.canonical_target` gives it.
    :param take: takes the socket's place; if it raises, nothing stays open.
    :param groups: whether the error of a single attempt comes as a group, too.
    :raises OSError: with the story of every attempt in its text, and their errors as its cause;
        ``PermissionError`` if a plugin refuses, ``ECANCELED`` if others have cancelled the tasks.
    """
    await how.checkpoint_if_cancelled()
    with plugin_errors_as_os_errors():
        hooks = active_hooks()
    winners: list[tuple[CanonicalSocket, SocketAddress]] = []
    losers: list[Unconnected] = []
    try:
        async with how.open_tasks() as tasks:
            waiting = TaskWaiting(how, tasks)
            connector = connector_of(waiting, hooks)

            def connected(*made: Any) -> None:
                winners.append(made)
                waiting.changed()

            def failed(end: Unconnected) -> None:
                losers.append(end)
                waiting.changed()

            race = connector.race(target, policy, connected, failed)
            race.run()
            try:
                await waiting.run_until(lambda: bool(winners or losers))
            except BaseException:
                race.cancel()
                await waiting.run_last()
                raise
    except BaseException:
        for sock, _ in winners:
            sock.close()
        raise
    if losers:
        raise error_with_attempts(losers[0], groups)
    if not winners:
        # AnyIO takes that for its own doing: others may cancel every task of an asyncio loop.
        raise OSError(
            errno.ECANCELED, f"{socket_name(*target)}: the connect's tasks were cancelled"
        )
    [(sock, address)] = winners
    lost = None
    try:
        lost = connector.connected(sock, address)
        return await take(sock, len(address) == 2, lost)
    except BaseException:
        sock.close()
        if lost is not None:
            lost()
        raise


def kept(variable: Any, make: Callable[[], T]) -> T:
    """What a run of an event loop keeps in a variable of its own, made at first use."""
    try:
        value: T = variable.get()
    except LookupError:
        value = make()
        variable.set(value)
    return value
