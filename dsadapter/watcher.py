"""Sockets that are watched for an event loop that can't, such as Windows' completion ports.

A thread selects; what it finds ready is called in the loop's thread.
"""

from __future__ import annotations

import atexit
import contextvars
import errno
import select
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol
from weakref import WeakSet

_MANY = 500
"""Sockets that one thread watches: ``select`` of Windows' Python takes 512 of each kind."""
_LINGERS = 5.0
"""Seconds: longer than who waits out an error that a new thread would have, too, such as EMFILE."""
_ASKS = 1.0
"""Seconds after which it asks whether a loop that takes nothing has ended."""

Found = Callable[[], object]


class Home(Protocol):
    """The loop that sockets are watched for. It is asked from another thread for all but
    :meth:`call`."""

    def wake(self, take: Found) -> bool:
        """Have a function called in the loop's thread, soon.

        :returns: False if the loop has ended, and never calls it.
        """

    def is_open(self) -> bool:
        """Whether it may call anything still."""

    def call(self, found: Found, context: contextvars.Context) -> None:
        """Call a function in this turn or the next, after what was given before; what it raises is
        the loop's."""


class Watch:
    """One socket that is watched, in one way."""

    __slots__ = ("_call", "_watched", "context", "fd", "is_over", "thread")

    def __init__(self, watched: dict[int, Watch], fd: int, call: Found) -> None:
        self._watched = watched
        self._call = call
        self.context = contextvars.copy_context()
        self.fd = fd
        self.is_over = False
        self.thread: _Selecting

    def found(self) -> None:
        """It is ready; called in the loop's thread."""
        # What is ready before it in the turn may have ended it.
        if not self.is_over:
            self._call()

    def cancel(self) -> None:
        """Watch it no more; cancelling what is over does nothing."""
        if self.is_over:
            return
        self.is_over = True
        if self._watched.get(self.fd) is self:
            del self._watched[self.fd]
        self.thread.remove(self)


class Watcher:
    """Watches for one loop, in whose thread it is called: each socket for one reader and one
    writer, the last ones.

    :param home: the loop; only a weak reference of it may keep it, if it is to be forgotten.
    :param lingers: seconds that a thread with nothing to watch waits for more.
    """

    def __init__(self, home: Home, *, lingers: float = _LINGERS) -> None:
        self._home = home
        self._lingers = lingers
        # All but the last are full, or were.
        self._threads: list[_Selecting] = []
        self._readers: dict[int, Watch] = {}
        self._writers: dict[int, Watch] = {}

    def when_readable(self, fd: int, call: Found) -> Watch:
        """Call a function in every turn in which a socket is readable, until that is cancelled.

        :raises OSError: if there is no thread or no socket more to watch with.
        """
        return self._add(self._readers, fd, call)

    def when_writable(self, fd: int, call: Found) -> Watch:
        """The same where it is writable or has failed to connect."""
        return self._add(self._writers, fd, call)

    def forget_reader(self, fd: int) -> bool:
        """Cancel what waits until a socket is readable; returns whether anything did."""
        return self._forget(self._readers, fd)

    def forget_writer(self, fd: int) -> bool:
        """Likewise."""
        return self._forget(self._writers, fd)

    def _add(self, watched: dict[int, Watch], fd: int, call: Found) -> Watch:
        self._forget(watched, fd)
        watch = Watch(watched, fd, call)
        is_reader = watched is self._readers
        if not any(thread.add(watch, is_reader) for thread in self._threads):
            thread = _Selecting(self._home, self._lingers)
            thread.add(watch, is_reader)
            self._threads = [each for each in self._threads if each.is_running] + [thread]
        watched[fd] = watch
        return watch

    def _forget(self, watched: dict[int, Watch], fd: int) -> bool:
        watch = watched.get(fd)
        if watch is None:
            return False
        watch.cancel()
        return True


class _Selecting:
    """One thread."""

    def __init__(self, home: Home, lingers: float) -> None:
        self._home = home
        self._lingers = lingers
        self._readers: set[Watch] = set()
        self._writers: set[Watch] = set()
        self._changing = threading.Condition()
        # Whether the loop has taken what was found last: ready sockets stay so until it has.
        self._taken = True
        self._selects = False
        self.is_running = True
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        # A server that nobody closes does not keep its program from ending.
        self._thread = threading.Thread(target=self._run, name="dsadapter-select", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._woken.close()
            self._waker.close()
            raise OSError(errno.EAGAIN, str(error)) from error
        _running.add(self)

    def add(self, watch: Watch, is_reader: bool) -> bool:
        """False if it can't take one more."""
        with self._changing:
            watches = self._readers if is_reader else self._writers
            if not self.is_running or len(watches) >= _MANY:
                return False
            watch.thread = self
            watches.add(watch)
            self._look_again()
        return True

    def remove(self, watch: Watch) -> None:
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

    def _next(self) -> tuple[dict[int, Watch], dict[int, Watch]] | None:
        """What to watch now; None for nothing any more."""
        with self._changing:
            while self.is_running and not self._taken:
                if not self._changing.wait(_ASKS) and not self._home.is_open():
                    self.is_running = False
            if self.is_running and not self._readers and not self._writers:
                self._changing.wait(self._lingers)
                self.is_running = bool(self.is_running and (self._readers or self._writers))
            if not self.is_running:
                return None
            self._selects = True
            return {w.fd: w for w in self._readers}, {w.fd: w for w in self._writers}

    def _select(self, readers: dict[int, Watch], writers: dict[int, Watch]) -> list[Watch]:
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

    def _closed(self, watches: Iterable[Watch]) -> list[Watch]:
        """Those whose descriptors somebody has closed. Their owners find that out."""
        closed = []
        for watch in watches:
            try:
                select.select([watch.fd], (), (), 0)
            except (OSError, ValueError):
                closed.append(watch)
                self.remove(watch)
        return closed

    def _tell(self, found: list[Watch]) -> bool:
        self._taken = False
        return self._home.wake(lambda: self._take(found))

    def _take(self, found: list[Watch]) -> None:
        call = self._home.call
        for watch in found:
            call(watch.found, watch.context)
        call(self._go_on, contextvars.copy_context())

    def _go_on(self) -> None:
        with self._changing:
            self._taken = True
            self._changing.notify()


_running: WeakSet[_Selecting] = WeakSet()


@atexit.register
def _stop_all() -> None:
    # A daemon's sockets would be found unclosed.
    for each in list(_running):
        each.stop()
