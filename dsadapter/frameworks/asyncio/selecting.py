"""Watching sockets for a loop that can't, such as Windows' Proactor loop.

A thread of its own selects; what it finds ready is called in the loop's thread.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import select
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakSet, ref

_MANY = 500
"""Sockets that one thread watches: ``select`` of Windows' Python takes 512 of each kind."""
_LINGERS = 1.0
"""Seconds that a thread with nothing to watch waits for more."""

Found = Callable[..., object]


class Watching(Protocol):
    """What a loop has for descriptors, and calls as a loop does."""

    def add_reader(self, fd: int, callback: Found, *args: Any) -> Any:
        """Call a function in every turn in which a socket is readable."""

    def add_writer(self, fd: int, callback: Found, *args: Any) -> Any:
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
    threads = _of_loops.get(loop)
    if threads is None:
        threads = _of_loops[loop] = _Threads(loop)
    return threads


class _Watch:
    """One socket that is watched."""

    __slots__ = ("_args", "_callback", "_context", "fd", "is_over", "thread")

    def __init__(self, fd: int, callback: Found, args: tuple[Any, ...]) -> None:
        self.fd = fd
        self._callback = callback
        self._args = args
        self._context = contextvars.copy_context()
        self.is_over = False
        self.thread: _Selecting

    def found(self, loop: asyncio.AbstractEventLoop) -> None:
        """It is ready; called in the loop's thread."""
        loop.call_soon(self._call, context=self._context)

    def _call(self) -> None:
        # What is ready before it in the turn may have ended it.
        if not self.is_over:
            self._callback(*self._args)


class _Threads:
    """The threads that watch for one loop; all but the last are full, or were."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = ref(loop)
        self._threads: list[_Selecting] = []
        self._readers: dict[int, _Watch] = {}
        self._writers: dict[int, _Watch] = {}

    def add_reader(self, fd: int, callback: Found, *args: Any) -> None:
        self.remove_reader(fd)
        self._add(self._readers, _Watch(fd, callback, args))

    def add_writer(self, fd: int, callback: Found, *args: Any) -> None:
        self.remove_writer(fd)
        self._add(self._writers, _Watch(fd, callback, args))

    def remove_reader(self, fd: int) -> bool:
        return self._remove(self._readers, fd)

    def remove_writer(self, fd: int) -> bool:
        return self._remove(self._writers, fd)

    def _add(self, watches: dict[int, _Watch], watch: _Watch) -> None:
        is_reader = watches is self._readers
        if not any(thread.add(watch, is_reader) for thread in self._threads):
            thread = _Selecting(self._loop)
            thread.add(watch, is_reader)
            self._threads = [each for each in self._threads if each.is_running] + [thread]
        watches[watch.fd] = watch

    def _remove(self, watches: dict[int, _Watch], fd: int) -> bool:
        watch = watches.pop(fd, None)
        if watch is None:
            return False
        watch.is_over = True
        watch.thread.remove(watch)
        return True


class _Selecting:
    """One thread."""

    def __init__(self, loop: Callable[[], asyncio.AbstractEventLoop | None]) -> None:
        self._loop = loop
        self._readers: set[_Watch] = set()
        self._writers: set[_Watch] = set()
        self._changing = threading.Condition()
        # Whether the loop has taken what was found last: ready sockets stay so until it has.
        self._taken = True
        self._selects = False
        self.is_running = True
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        _running.add(self)
        # A server that nobody closes does not keep its program from ending.
        self._thread = threading.Thread(target=self._run, name="dsadapter-select", daemon=True)
        self._thread.start()

    def add(self, watch: _Watch, is_reader: bool) -> bool:
        """False if it can't take one more."""
        with self._changing:
            watches = self._readers if is_reader else self._writers
            if not self.is_running or len(watches) >= _MANY:
                return False
            watch.thread = self
            watches.add(watch)
            self._look_again()
        return True

    def remove(self, watch: _Watch) -> None:
        """Watch it no more."""
        with self._changing:
            self._readers.discard(watch)
            self._writers.discard(watch)
            self._look_again()

    def stop(self) -> None:
        """End the thread, and wait for that."""
        with self._changing:
            self.is_running = False
            self._look_again()
        self._thread.join()

    def _look_again(self) -> None:
        if self._selects:
            self._selects = False
            with suppress(OSError):
                # Full of such bytes it is enough.
                self._waker.send(b"\0")
        self._changing.notify()

    def _run(self) -> None:
        try:
            while (watches := self._next()) is not None:
                found = self._select(*watches)
                if found and not self._tell(found):
                    break
        finally:
            with self._changing:
                self.is_running = False
            _running.discard(self)
            self._woken.close()
            self._waker.close()

    def _next(self) -> tuple[dict[int, _Watch], dict[int, _Watch]] | None:
        """What to watch now; None for nothing any more."""
        with self._changing:
            while self.is_running and not self._taken:
                if not self._changing.wait(_LINGERS) and self._has_closed():
                    self.is_running = False
            if not self._readers and not self._writers:
                self._changing.wait(_LINGERS)
                self.is_running = bool(self.is_running and (self._readers or self._writers))
            if not self.is_running:
                return None
            self._selects = True
            return {w.fd: w for w in self._readers}, {w.fd: w for w in self._writers}

    def _select(self, readers: dict[int, _Watch], writers: dict[int, _Watch]) -> list[_Watch]:
        woken = self._woken.fileno()
        try:
            # A connection that has failed is in the third set alone.
            found = select.select([woken, *readers], list(writers), list(writers))
        except (OSError, ValueError):
            return self._closed([*readers.values(), *writers.values()])
        finally:
            with self._changing:
                self._selects = False
        if woken in found[0]:
            with suppress(OSError):
                self._woken.recv(4096)
        readable = [readers[fd] for fd in found[0] if fd != woken]
        return readable + [writers[fd] for fd in {*found[1], *found[2]}]

    def _closed(self, watches: Iterable[_Watch]) -> list[_Watch]:
        """Those whose descriptors somebody has closed. Their owners find that out."""
        closed = []
        for watch in watches:
            try:
                select.select([watch.fd], (), (), 0)
            except (OSError, ValueError):
                closed.append(watch)
                self.remove(watch)
        return closed

    def _tell(self, found: list[_Watch]) -> bool:
        loop = self._loop()
        if loop is None:
            return False
        self._taken = False
        try:
            loop.call_soon_threadsafe(self._take, found)
        except RuntimeError:
            # It has closed.
            return False
        return True

    def _take(self, found: list[_Watch]) -> None:
        loop = self._loop()
        if loop is not None:
            for watch in found:
                watch.found(loop)
            loop.call_soon(self._go_on)

    def _has_closed(self) -> bool:
        """Whether the loop has, and never takes what was found."""
        loop = self._loop()
        return loop is None or loop.is_closed()

    def _go_on(self) -> None:
        with self._changing:
            self._taken = True
            self._changing.notify()


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Threads] = WeakKeyDictionary()
_running: WeakSet[_Selecting] = WeakSet()


@atexit.register
def _stop_all() -> None:
    # A daemon's sockets would be found unclosed.
    for each in list(_running):
        each.stop()
