"""How AnyIO's tasks wait for sockets that may be closed meanwhile.

On a loop of asyncio's that can't watch sockets, such as Windows' Proactor loop, AnyIO selects by a
thread of its own, which ends when a socket is closed that it waits for, and with it every wait of
the process. There the thread of :mod:`dsadapter.watcher` selects.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import anyio

if TYPE_CHECKING:
    import asyncio
    import socket


async def wait_readable(sock: socket.socket | int) -> None:
    """As ``anyio.wait_readable``."""
    waits = _waits()
    if waits is None:
        await anyio.wait_readable(sock)
    else:
        await waits.readers.until(_number(sock))


async def wait_writable(sock: socket.socket | int) -> None:
    """As ``anyio.wait_writable``."""
    waits = _waits()
    if waits is None:
        await anyio.wait_writable(sock)
    else:
        await waits.writers.until(_number(sock))


def notify_closing(sock: socket.socket | int) -> None:
    """As ``anyio.notify_closing``."""
    waits = _waits()
    if waits is None:
        anyio.notify_closing(sock)
    else:
        waits.readers.close(_number(sock))
        waits.writers.close(_number(sock))


def _number(sock: socket.socket | int) -> int:
    return sock if isinstance(sock, int) else sock.fileno()


def _waits() -> _Waits | None:
    """Those of the running loop; None where AnyIO's own do."""
    # AnyIO imports no back end that does not run.
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return None
    # Trio's tasks are none of asyncio's, even as its guest.
    if task is None:
        return None
    from dsadapter.frameworks.selecting import watching_of

    loop = task.get_loop()
    watching = watching_of(loop)
    if watching is loop:
        return None
    waits = _of_loops.get(loop)
    if waits is None:
        waits = _of_loops[loop] = _Waits(watching)
    return waits


class _Waits:
    def __init__(self, watching: Any) -> None:
        self.readers = _Side(watching.add_reader, watching.remove_reader, "reading from")
        self.writers = _Side(watching.add_writer, watching.remove_writer, "writing to")


class _Side:
    """The tasks that wait until sockets are readable, or writable: one a socket."""

    def __init__(
        self, add: Callable[..., object], remove: Callable[[int], object], deed: str
    ) -> None:
        self._add = add
        self._remove = remove
        self._deed = deed
        self._waiting: dict[int, asyncio.Future[bool]] = {}

    async def until(self, fd: int) -> None:
        from asyncio import get_running_loop

        if fd in self._waiting:
            raise anyio.BusyResourceError(self._deed)
        ready = self._waiting[fd] = get_running_loop().create_future()
        try:
            self._add(fd, _settle, ready, True)
            if not await ready:
                raise anyio.ClosedResourceError
        finally:
            self._end(fd, ready)

    def close(self, fd: int) -> None:
        ready = self._waiting.get(fd)
        if ready is not None:
            # At once: the number may soon be another socket's.
            self._end(fd, ready)
            _settle(ready, False)

    def _end(self, fd: int, ready: asyncio.Future[bool]) -> None:
        if self._waiting.get(fd) is ready:
            del self._waiting[fd]
            self._remove(fd)


def _settle(ready: asyncio.Future[bool], is_ready: bool) -> None:
    # Ready in every turn until the task has come to know it.
    if not ready.done():
        ready.set_result(is_ready)


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Waits] = WeakKeyDictionary()
