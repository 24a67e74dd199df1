"""Watching sockets for a loop of asyncio's, also one that can't, such as Windows' Proactor loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any, Protocol
from weakref import WeakKeyDictionary, ref

from dsadapter.watcher import Found, Watcher


class Watching(Protocol):
    """What a loop has for descriptors, and calls as a loop does."""

    def add_reader(self, fd: int, callback: Callable[..., object], *args: Any) -> Any:
        """Call a function in every turn in which a socket is readable."""

    def add_writer(self, fd: int, callback: Callable[..., object], *args: Any) -> Any:
        """The same where it is writable or has failed to connect."""

    def remove_reader(self, fd: int) -> bool:
        """End that; returns whether it was asked for."""

    def remove_writer(self, fd: int) -> bool:
        """Likewise."""


def watching_of(loop: asyncio.AbstractEventLoop) -> Watching:
    """What watches sockets for a loop: itself, if it can."""
    # Bound, because a loop may have another one do its work.
    if getattr(loop.add_reader, "__func__", None) is not asyncio.AbstractEventLoop.add_reader:
        return loop
    watched = _of_loops.get(loop)
    if watched is None:
        watched = _of_loops[loop] = _Watched(loop)
    return watched


class _Watched:
    """What a loop lacks, by threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watcher = Watcher(_Loop(loop))
        self.remove_reader = self._watcher.forget_reader
        self.remove_writer = self._watcher.forget_writer

    def add_reader(self, fd: int, callback: Callable[..., object], *args: Any) -> None:
        self._watcher.when_readable(fd, partial(callback, *args))

    def add_writer(self, fd: int, callback: Callable[..., object], *args: Any) -> None:
        self._watcher.when_writable(fd, partial(callback, *args))


class _Loop:
    """As :class:`~dsadapter.watcher.Home`; it does not keep the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = ref(loop)

    def wake(self, take: Found) -> bool:
        loop = self._loop()
        if loop is None:
            return False
        try:
            loop.call_soon_threadsafe(take)
        except RuntimeError:
            # It has closed.
            return False
        return True

    def is_open(self) -> bool:
        loop = self._loop()
        return loop is not None and not loop.is_closed()

    def call(self, found: Found, context: Context) -> None:
        loop = self._loop()
        if loop is not None:
            loop.call_soon(found, context=context)


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Watched] = WeakKeyDictionary()
