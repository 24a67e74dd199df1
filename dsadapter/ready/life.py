"""How long something is open that several socket objects stand for."""

from __future__ import annotations

import os
from collections.abc import Callable

from dsadapter.addressing.sockaddr import SocketAddress


class Life:
    """Something that ends with the last socket that has it, and tells the process it began in.

    :param sock: the first that has it.
    :param tell: called once.
    :param local: what every socket that has it is called here, canonical, if that is known.
    """

    __slots__ = ("_only", "_process", "_sockets", "_tell", "local")

    def __init__(
        self, sock: object, tell: Callable[[], None], local: SocketAddress | None = None
    ) -> None:
        # One a connection, which mostly has one socket: no set before there is another.
        self._only = id(sock)
        self._sockets: set[int] | None = None
        # Threads may close at once; taking something out of a list or a set is one step.
        self._tell = [tell]
        self._process = os.getpid()
        self.local = local

    def share(self, sock: object) -> None:
        """Another socket has it, too."""
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
        if os.getpid() != self._process:
            return
        try:
            tell = self._tell.pop()
        except IndexError:
            return
        tell()
