"""How long something is open that several socket objects stand for."""

from __future__ import annotations

import os
from collections.abc import Callable

from dsadapter.listener import Told


class _Process:
    pass


process = _Process()
"""This process: another object in one that has been forked."""


def _forked() -> None:
    global process
    process = _Process()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Life:
    """Something that ends with the last socket that has it, and tells the process it began in.

    :param sock: the first that has it.
    :param tell: called once.
    :param began_in: the :data:`process` that it began in; None for this one.
    """

    __slots__ = ("_only", "_process", "_sockets", "_tell")

    def __init__(
        self, sock: object, tell: Callable[[], None], began_in: object | None = None
    ) -> None:
        # One a connection, which mostly has one socket: no set before there is another.
        self._only = id(sock)
        self._sockets: set[int] | None = None
        # Threads may close at once; taking something out of a list or a set is one step.
        self._tell = [tell]
        self._process = began_in or process

    def share(self, sock: object) -> None:
        """Another socket has it, too."""
        for tell in self._tell:
            if isinstance(tell, Told):
                # The first may close before the last.
                tell.closing()
        if self._sockets is None:
            self._sockets = {self._only}
        self._sockets.add(id(sock))

    def pass_on(self, old: object, new: object) -> None:
        """Another socket has taken the place of one."""
        if self._sockets is None:
            self._only = id(new)
        else:
            self._sockets.add(id(new))
            self._sockets.discard(id(old))

    @property
    def is_over(self) -> bool:
        """Whether no socket has it."""
        return self._sockets is not None and not self._sockets

    def end(self, sock: object) -> None:
        """A socket has it no more; told twice, it does nothing."""
        sockets = self._sockets
        if sockets is None:
            if id(sock) == self._only:
                self.over()
            return
        sockets.discard(id(sock))
        if not sockets:
            self.over()

    def over(self) -> None:
        """It has ended, whoever has it still."""
        self._sockets = set()
        if self._process is not process:
            return
        try:
            tell = self._tell.pop()
        except IndexError:
            return
        tell()
