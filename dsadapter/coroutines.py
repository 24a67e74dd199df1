"""What a framework of coroutines contributes: how its tasks wait."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, NamedTuple, Protocol


class Event(Protocol):
    """What a task waits for, once."""

    def set(self) -> object:
        """Wake whoever waits."""

    def wait(self) -> Awaitable[object]:
        """Return when it is set."""


class Tasks(Protocol):
    """Tasks that whoever has opened them waits for."""

    def start_soon(self, function: Callable[..., Awaitable[Any]], *args: Any) -> object:
        """Begin one in a later turn."""


class CoroutineWaiting(NamedTuple):
    """How coroutines of a framework wait."""

    until_readable: Callable[[socket.socket], Awaitable[None]]
    until_writable: Callable[[socket.socket], Awaitable[None]]
    sleep: Callable[[float], Awaitable[None]]
    """For some seconds."""
    checkpoint_if_cancelled: Callable[[], Awaitable[None]]
    cancel_shielded_checkpoint: Callable[[], Awaitable[None]]
    notify_closing: Callable[[socket.socket], object]
    """Wakes who waits for a socket with ``closed``."""
    closed: type[Exception]
    now: Callable[[], float]
    """Seconds on a clock that only goes forward."""
    until: Callable[[float], AbstractContextManager[object]]
    """Leaves its block at that time, by the clock."""
    event: Callable[[], Event]
    open_tasks: Callable[[], AbstractAsyncContextManager[Any]]
    """Gives :class:`Tasks`."""
