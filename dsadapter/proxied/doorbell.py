"""A descriptor that is readable when one of several sockets is, where selectors have none."""

from __future__ import annotations

import errno
import select
import socket
import threading
from collections.abc import Iterable
from contextlib import ExitStack, suppress


class Doorbell:
    """Rings when one of the sockets is readable that it was set for: once, until it is set anew.

    Windows' selectors have no descriptor of their own, so a thread waits, which ends with
    :meth:`close`. It may ring for nothing.

    :raises OSError: if no sockets can be opened for it, or no thread begun.
    """

    def __init__(self) -> None:
        self._sockets: list[int] = []
        with ExitStack() as stack:
            self._rung, rings = map(stack.enter_context, socket.socketpair())
            self._sets, is_set = map(stack.enter_context, socket.socketpair())
            self._rung.setblocking(False)
            # It closes two of them.
            thread = threading.Thread(
                target=self._run, args=(is_set, rings), name="dsadapter-doorbell", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:
                raise OSError(errno.EAGAIN, str(error)) from error
            stack.pop_all()

    def fileno(self) -> int:
        """The descriptor."""
        return self._rung.fileno()

    def set(self, sockets: Iterable[int]) -> None:
        """Ring no more, until one of these is readable; in one thread at a time."""
        with suppress(OSError):
            while self._rung.recv(64):
                pass
        self._sockets = [*sockets]
        with suppress(OSError):
            self._sets.send(b"x")

    def close(self) -> None:
        """End the thread, and close the descriptor."""
        self._sets.close()
        self._rung.close()

    def _run(self, is_set: socket.socket, rings: socket.socket) -> None:
        number, waiting = is_set.fileno(), list[int]()
        with is_set, rings, suppress(OSError):
            while True:
                try:
                    ready, _, _ = select.select([number, *waiting], [], [])
                except (OSError, ValueError):
                    # One has been closed, or there are too many: whoever has them finds out.
                    ready = []
                if number not in ready:
                    rings.send(b"x")
                    waiting = []
                elif is_set.recv(64):
                    waiting = self._sockets
                else:
                    return
