"""What a framework contributes to connecting: how its event loop waits."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol


class Cancellable(Protocol):
    """Something that is waited for."""

    def cancel(self) -> object:
        """Call nothing any more; cancelling what is over does nothing."""


class Ready(Protocol):
    """What is called when a socket may have become writable."""

    def __call__(self, lost: BaseException | None = None) -> object:
        """:param lost: why the event loop gives the socket up; nothing is called after that."""


class Waiting(Protocol):
    """One event loop, in whose thread everything happens."""

    def now(self) -> float:
        """Seconds on a clock that only goes forward."""

    def call_later(self, seconds: float, function: Callable[[], object]) -> Cancellable:
        """Call a function once, in a later turn of the loop even after 0 seconds."""

    def when_writable(self, sock: socket.socket, ready: Ready) -> Cancellable:
        """Call a function whenever a socket is writable or has an error, until that is cancelled.

        It may be called too often, but not before this returns.

        :raises OSError: if the loop can't watch the socket.
        """
