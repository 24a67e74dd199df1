"""Connections of proxies for whoever accepts one after the other: each with its header read."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import ExitStack, suppress
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.listener import Listener
from dsadapter.proxied.doorbell import Doorbell
from dsadapter.proxied.gate import ProxyCounters, ProxyGate
from dsadapter.sockets.canonical import (
    ONE_CONNECTION,
    CanonicalSocket,
    PlainSocket,
    accept_descriptor,
    canonical_name,
    family_number,
    peer_gone,
)
from dsadapter.sockets.failing_accepts import ACCEPT_AGAIN, LASTING, say_again

if TYPE_CHECKING:
    from dsadapter.connector.waiting import Ready

_AT_ONCE = 64
"""How many connections to look at in one turn."""
MOST_WATCHED = 500 if sys.platform == "win32" else inf
"""How many sockets to wait for at once: Windows' select() takes 512 of Python's. More connections
wait until they are accepted."""
_STREAM = int(socket.SOCK_STREAM)
_WAITING = (BlockingIOError, InterruptedError)


class Passed(NamedTuple):
    """A connection whose header has come."""

    sock: CanonicalSocket
    """Non-blocking; whoever takes it owns it."""
    peer: SocketAddress
    """The client's canonical address."""
    local: SocketAddress
    """Where the client connected to."""
    proxy: SocketAddress | None
    """Who has said both; None if they are the connection's own."""


class ProxiedQueue:
    """Accepts what comes to one socket, and reads the headers of all connections at once, so that a
    slow proxy keeps nobody waiting.

    Nothing happens but in the methods that take or wait, which any thread may call. After a fork
    the child begins anew: what the parent has accepted stays the parent's.

    :param listening: see :meth:`accept_from`.
    :param life: the listener's, whose policy has ``proxy_from``.
    """

    def __init__(self, listening: socket.socket, life: Listener) -> None:
        self._passed: list[Passed] = []
        self._due = inf
        self._timer: Callable[[], object] | None = None
        self._selector: selectors.BaseSelector | None = None
        self._doorbell: Doorbell | None = None
        self._is_paused = False
        self._has_failed = False
        self._again_at = inf
        self._closed = False
        self._lock = threading.RLock()
        # Held for a moment only, whoever waits.
        self._beginning = threading.RLock()
        self._gate = ProxyGate(life, self, lambda *passed: self._passed.append(Passed(*passed)))
        self.accept_from(listening)
        _queues.add(self)

    def accept_from(self, listening: socket.socket) -> None:
        """Accept by this object, which has the descriptor; it stays the caller's, and becomes
        non-blocking: another process may take what has come."""
        self._listening = weakref.ref(listening)
        self._number = listening.fileno()
        PlainSocket.setblocking(listening, False)

    @property
    def counters(self) -> ProxyCounters:
        """What has come, and what was closed for which reason."""
        return self._gate.counters

    def fileno(self) -> int:
        """A descriptor that is readable when :meth:`is_ready` has something to do.

        :raises OSError: if it is closed.
        """
        selector: Any = self._begun()
        if hasattr(selector, "fileno"):
            number: int = selector.fileno()
            return number
        with self._beginning:
            if self._closed:
                raise _closed()
            if self._doorbell is None:
                self._doorbell = Doorbell()
                self._set_doorbell()
            return self._doorbell.fileno()

    def _watch_on(self) -> None:
        """After every look: accept again, if it is time and there is room, and tell of what is
        readable."""
        selector = self._selector
        if self._again_at <= monotonic():
            self._again_at = inf
        if (
            self._is_paused
            and self._again_at == inf
            and selector is not None
            and not self._is_full_of(selector)
        ):
            selector.register(self._number, selectors.EVENT_READ)
            self._is_paused = False
        self._set_doorbell()

    def _set_doorbell(self) -> None:
        """Where selectors have no descriptor: tell of what is readable from now on."""
        doorbell, selector = self._doorbell, self._selector
        if doorbell is not None and selector is not None:
            # In one step: another thread may be at it.
            numbers: Any = list(selector.get_map())
            doorbell.set(numbers)

    @property
    def patience(self) -> float | None:
        """Seconds until :meth:`is_ready` has something to do whatever comes; None for never."""
        due = min(self._due, self._again_at)
        return None if due == inf else max(0.0, due - monotonic())

    def is_ready(self) -> bool:
        """Read what has come of headers, close what is late, and tell whether a connection can be
        taken. One that can must be: the descriptor tells of it no more.

        :raises OSError: as ``accept``; EBADF if it is closed.
        """
        if not self._lock.acquire(blocking=False):
            # Another thread takes what comes.
            return False
        try:
            self._look(0)
            return bool(self._passed)
        finally:
            self._watch_on()
            self._lock.release()

    def close_late_ones(self) -> None:
        """Close the connections whose header is late by now."""
        if self._lock.acquire(blocking=False):
            try:
                self._fire()
            finally:
                self._watch_on()
                self._lock.release()

    def take(self, timeout: float | None = 0) -> Passed | None:
        """The next connection whose header is there; None if there is none in time.

        :param timeout: seconds; None to wait for ever.
        :raises OSError: as ``accept``; EBADF if it is closed.
        """
        deadline = inf if timeout is None else monotonic() + timeout
        while True:
            left = max(0.0, deadline - monotonic())
            if not self._lock.acquire(timeout=-1 if left == inf else left):
                return None
            try:
                left = max(0.0, deadline - monotonic())
                self._look(left)
                if self._passed:
                    return self._passed.pop()
            finally:
                self._watch_on()
                self._lock.release()
            if not left:
                return None

    def _look(self, timeout: float) -> None:
        selector = self._begun()
        if self._passed:
            return
        patience = self.patience
        timeout = min(timeout, inf if patience is None else patience)
        ready = selector.select(None if timeout == inf else timeout)
        self._fire()
        for key, _ in ready:
            # One at a time: the descriptor is readable for as long as there are more.
            if self._closed or self._passed:
                break
            if key.fd == self._number:
                self._accept_some(selector)
            elif key.data is not None:
                key.data()
        self._begun()

    def _accept_some(self, selector: selectors.BaseSelector) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, peer = self._accepted()
            except _WAITING:
                break
            except OSError as error:
                if error.errno not in ONE_CONNECTION:
                    if error.errno in LASTING:
                        self._pause_after(error, selector)
                    raise
                continue
            self._has_failed = False
            self._gate.accepted(accepted, peer)
            if self._is_full_of(selector):
                self._pause(selector)
            if self._passed or self._is_paused:
                break

    def _pause(self, selector: selectors.BaseSelector) -> None:
        """Accept nothing for now; headers are read."""
        selector.unregister(self._number)
        self._is_paused = True

    def _pause_after(self, error: OSError, selector: selectors.BaseSelector) -> None:
        """Who asks again at once fails once more, and then waits."""
        if self._has_failed:
            say_again(error)
            self._again_at = monotonic() + ACCEPT_AGAIN
            self._pause(selector)
        self._has_failed = not self._has_failed

    def _is_full_of(self, selector: selectors.BaseSelector) -> bool:
        return len(selector.get_map()) >= MOST_WATCHED

    def _accepted(self) -> tuple[CanonicalSocket, SocketAddress]:
        listening = self._listening()
        if listening is None:
            raise _closed()
        fd, name = accept_descriptor(listening)
        accepted = CanonicalSocket(family_number(listening), _STREAM, listening.proto, fd)
        if name is None:
            accepted.close()
            raise peer_gone()
        return accepted, canonical_name(name)

    def close(self) -> None:
        """Close the connections that still wait, and wake who waits; the listening socket is the
        caller's."""
        if self._closed:
            return
        with self._beginning:
            self._closed = True
            if self._selector is not None:
                self._wake.send(b"x")
        with self._lock:
            self._end()

    def _begun(self) -> selectors.BaseSelector:
        if self._closed:
            raise _closed()
        selector = self._selector
        if selector is None:
            with self._beginning:
                selector = self._selector or self._begin()
        return selector

    def _begin(self) -> selectors.BaseSelector:
        if self._closed:
            raise _closed()
        with ExitStack() as stack:
            # All of it or nothing: descriptors may run out in between.
            selector = selectors.DefaultSelector()
            stack.callback(selector.close)
            # Whoever waits in another thread is woken by it when this closes.
            woken, wake = socket.socketpair()
            stack.callback(woken.close)
            stack.callback(wake.close)
            selector.register(self._number, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            stack.pop_all()
        self._is_paused, self._again_at = False, inf
        self._woken, self._wake, self._selector = woken, wake, selector
        return selector

    def _end(self) -> None:
        doorbell, self._doorbell = self._doorbell, None
        if doorbell is not None:
            doorbell.close()
        selector, self._selector = self._selector, None
        if selector is not None:
            # First: a forked process shares the parent's, and must take nothing out of it.
            selector.close()
            self._woken.close()
            self._wake.close()
        self._gate.close()
        while self._passed:
            self._passed.pop().sock.close()

    def begin_anew(self) -> None:
        """Leave everything to the process that has forked this one."""
        self._lock = threading.RLock()
        self._beginning = threading.RLock()
        self._end()

    # What the gate asks of an event loop.

    def now(self) -> float:
        """Seconds on a clock that only goes forward."""
        return monotonic()

    def call_later(self, seconds: float, function: Callable[[], object]) -> _Timer:
        """Call a function in a later turn; the gate has one such at a time."""
        self._due, self._timer = monotonic() + seconds, function
        return _Timer(self)

    def forget_timer(self) -> None:
        """Call nothing later."""
        self._due, self._timer = inf, None

    def _fire(self) -> None:
        timer = self._timer
        if timer is not None and self._due <= monotonic():
            self.forget_timer()
            timer()

    def when_readable(self, sock: socket.socket, ready: Ready) -> _Watch:
        """Call a function whenever a socket is readable."""
        selector = self._begun()
        selector.register(sock, selectors.EVENT_READ, ready)
        return _Watch(selector, sock)


class _Timer:
    """The one timer of a queue."""

    def __init__(self, queue: ProxiedQueue) -> None:
        self._queue = queue

    def cancel(self) -> None:
        self._queue.forget_timer()


class _Watch:
    """A socket that is waited for."""

    def __init__(self, selector: selectors.BaseSelector, sock: socket.socket) -> None:
        self._selector = selector
        self._sock = sock

    def cancel(self) -> None:
        # One that is closed knows nobody.
        with suppress(KeyError, ValueError):
            self._selector.unregister(self._sock)


def _closed() -> OSError:
    return OSError(errno.EBADF, os.strerror(errno.EBADF))


_queues: weakref.WeakSet[ProxiedQueue] = weakref.WeakSet()


def _begin_anew() -> None:
    for queue in list(_queues):
        queue.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
