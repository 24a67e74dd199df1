"""How long something is open that several socket objects stand for."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress


class Life:
    """Something that ends with the last socket that has it, and tells the process it began in.

    :param sock: the first that has it.
    :param tell: called once.
    """

    def __init__(self, sock: object, tell: Callable[[], None]) -> None:
        # Threads may close at once; taking something out of these is one step each.
        self._sockets = {id(sock)}
        self._tell = [tell]
        self._process = os.getpid()

    def share(self, sock: object) -> None:
        """Another socket has it, too."""
        self._sockets.add(id(sock))

    def pass_on(self, old: object, new: object) -> None:
        """Another socket has taken the place of one."""
        self._sockets.add(id(new))
        self._sockets.discard(id(old))

    def end(self, sock: object) -> None:
        """A socket has it no more; told twice, it does nothing."""
        self._sockets.discard(id(sock))
        if not self._sockets:
            self.over()

    def over(self) -> None:
        """It has ended, whoever has it still."""
        self._sockets.clear()
        if os.getpid() == self._process:
            with suppress(IndexError):
                self._tell.pop()()
