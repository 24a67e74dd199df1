"""Listening behind proxies under Trio: each connection when its PROXY header has come."""

from __future__ import annotations

import errno
import socket
from math import inf
from typing import Any, NoReturn

import trio

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.frameworks.trio.delegating import CanonicalTrioSocket, ListeningTrioSocket
from dsadapter.listener import Listener
from dsadapter.proxied.proxied_queue import Passed, ProxiedQueue
from dsadapter.ready.life import Life
from dsadapter.sockets.canonical import PlainSocket


class ListeningBehindProxies(ListeningTrioSocket):
    """One that listens, whose connections begin with a header."""

    def __init__(self, sock: socket.socket, listener: Listener) -> None:
        super().__init__(sock, listener)
        self.queue = ProxiedQueue(sock, listener)

    async def accept(self) -> tuple[trio.socket.SocketType, Any]:
        """As Trio's, with the client's canonical address."""
        await trio.lowlevel.checkpoint_if_cancelled()
        waited = False
        while True:
            try:
                passed = self.queue.take()
            except OSError:
                await trio.lowlevel.cancel_shielded_checkpoint()
                raise
            if passed is not None:
                break
            patience = self.queue.patience
            with trio.move_on_after(inf if patience is None else patience):
                await trio.lowlevel.wait_readable(self.queue.fileno())
            waited = True
        if not waited:
            try:
                await trio.lowlevel.cancel_shielded_checkpoint()
            except BaseException:
                passed.sock.close()
                raise
        return self._under_names(passed), passed.peer

    def _under_names(self, passed: Passed) -> ProxiedTrioSocket:
        sock, peer, local, proxy = passed
        try:
            lost = self._listener.accepted(peer, local, proxy)
        except BaseException:
            sock.close()
            raise
        # Trio takes no subclass of socket.socket.
        plain = socket.socket(sock.family, sock.type, sock.proto, PlainSocket.detach(sock))
        made = ProxiedTrioSocket(trio.socket.from_stdlib_socket(plain), (peer, local))
        if lost is not None:
            made.live(Life(made, lost))
        return made

    def detach(self) -> NoReturn:
        """Refused: whoever has the descriptor would read no headers.

        :raises OSError: always.
        """
        raise OSError(errno.EOPNOTSUPP, "a socket that reads PROXY headers keeps its descriptor")

    def dup(self) -> NoReturn:
        """Refused: two would take each other's connections.

        :raises OSError: always.
        """
        self.detach()

    def close(self) -> None:
        """As Trio's; connections that wait for their header are closed."""
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self.queue.fileno())
            self.queue.close()
        super().close()


class ProxiedTrioSocket(CanonicalTrioSocket):
    """A stream socket under the names that a header gave."""

    def __init__(
        self, original: trio.socket.SocketType, names: tuple[SocketAddress, SocketAddress]
    ) -> None:
        super().__init__(original)
        self._names = names

    def live(self, life: Life) -> None:
        """It is open as long as that."""
        self._life = life

    def getpeername(self) -> Any:
        """The client's canonical address."""
        return self._name(0, self._original.getpeername)

    def getsockname(self) -> Any:
        """The canonical address that the client connected to."""
        return self._name(1, self._original.getsockname)

    def _name(self, which: int, kernels: Any) -> Any:
        # A closed socket has no names.
        return self._names[which] if self._original.fileno() != -1 else kernels()

    def dup(self) -> ProxiedTrioSocket:
        """As Trio's, under the same names."""
        duplicate = ProxiedTrioSocket(self._original.dup(), self._names)
        if self._life is not None:
            self._life.share(duplicate)
            duplicate.live(self._life)
        return duplicate
