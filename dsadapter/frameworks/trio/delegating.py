"""Trio's socket objects, with names of ours."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Self

import trio

from dsadapter.listener import Listener
from dsadapter.ready.canonical_view import shown
from dsadapter.ready.life import Life
from dsadapter.ready.plain_accept import PlainConnection, accept_plain
from dsadapter.sockets.canonical import canonical_name
from dsadapter.sockets.failing_accepts import ACCEPT_AGAIN, say_again

FRAMEWORK = "trio"


class DelegatingSocket(trio.socket.SocketType):
    """A Trio socket that does what its original does: Trio takes no subclass of ``socket.socket``.

    :param original: has the methods of a Trio socket, or those of them that are not overridden.
    """

    def __init__(self, original: Any) -> None:
        super().__init__()
        self._original = original

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        # The original's would show what the kernel has.
        return shown(self)


def _delegate() -> None:
    # The base class defines every method, so that __getattr__ would be asked for none.
    for name in vars(trio.socket.SocketType):
        if not name.startswith("_"):
            setattr(DelegatingSocket, name, property(attrgetter(f"_original.{name}")))


_delegate()


class CanonicalTrioSocket(DelegatingSocket):
    """A Trio stream socket that shows an IPv4 peer or local address as ``(ipv4, port)``.

    :param original: Trio's own.
    :param life: ends when it is closed; None if nobody wants to know.
    """

    def __init__(self, original: trio.socket.SocketType, life: Life | None = None) -> None:
        super().__init__(original)
        self._life = life

    def getpeername(self) -> Any:
        """As Trio's, canonical."""
        return canonical_name(self._original.getpeername())

    def getsockname(self) -> Any:
        """As Trio's, canonical."""
        return canonical_name(self._original.getsockname())

    def dup(self) -> CanonicalTrioSocket:
        """As Trio's; plugins are told of the end when both are closed."""
        duplicate = CanonicalTrioSocket(self._original.dup(), self._life)
        if self._life is not None:
            self._life.share(duplicate)
        return duplicate

    def detach(self) -> int:
        """As Trio's; the descriptor is lost to plugins."""
        try:
            self._end()
        finally:
            fd: int = self._original.detach()
        return fd

    def close(self) -> None:
        """As Trio's; plugins are told just before."""
        try:
            self._end()
        finally:
            self._original.close()

    def __del__(self) -> None:
        self._end()

    def _end(self) -> None:
        life = getattr(self, "_life", None)
        if life is not None:
            self._life = None
            life.end(self)


class ListeningTrioSocket(CanonicalTrioSocket):
    """One that listens, whose connections plugins are told of.

    :param sock: listening, of Python's own class.
    :param listener: open.
    """

    def __init__(self, sock: socket.socket, listener: Listener) -> None:
        super().__init__(trio.socket.from_stdlib_socket(sock))
        self._sock = sock
        self._listener = listener

    def live(self, life: Life) -> None:
        """It is open as long as that, and that at least as long."""
        life.share(self)
        self._life = life

    async def accept(self) -> tuple[trio.socket.SocketType, Any]:
        """As Trio's, with the canonical address of the peer. One that the system denies (EPERM),
        which Trio's listener asks for again, fails after a second."""
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            accepted = accept_plain(self._sock)
        except BlockingIOError:
            pass
        except OSError as error:
            await self._failed(error)
            raise
        else:
            try:
                await trio.lowlevel.cancel_shielded_checkpoint()
            except BaseException:
                accepted.sock.close()
                raise
            return self._shown(accepted), accepted.peer
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            try:
                accepted = accept_plain(self._sock)
            except BlockingIOError:
                continue
            except OSError as error:
                await self._failed(error)
                raise
            return self._shown(accepted), accepted.peer

    async def _failed(self, error: OSError) -> None:
        """Let others have their turn before an error comes out, as Trio does, or wait it out."""
        if error.errno == errno.EPERM:
            # trio.SocketListener passes it over and accepts again; trio.serve_listeners waits out
            # what it raises.
            say_again(error)
            await trio.sleep(ACCEPT_AGAIN)
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def close(self) -> None:
        """As Trio's; plugins are told just after."""
        self._original.close()
        self._end()

    def _shown(self, accepted: PlainConnection) -> trio.socket.SocketType:
        sock, peer, is_mapped = accepted
        try:
            lost = None
            if self._listener.hooks.connections is not None:
                lost = self._listener.accepted(peer, sock.getsockname)
            return trio_socket(sock, is_mapped, lost)
        except BaseException:
            sock.close()
            raise


def trio_socket(
    sock: socket.socket, is_mapped: bool, lost: Callable[[], None] | None = None
) -> trio.socket.SocketType:
    """A socket of Python's own class as Trio's where the kernel shows canonical names of it, and
    else as one of ours; it takes its place.

    :param is_mapped: whether its own names are mapped.
    :param lost: called when it is closed; None if nobody wants to know.
    """
    made = trio.socket.from_stdlib_socket(sock)
    if is_mapped:
        made = CanonicalTrioSocket(made)
    return made if lost is None else _alive(made, lost)


def _alive(sock: trio.socket.SocketType, lost: Callable[[], None]) -> CanonicalTrioSocket:
    made = sock if isinstance(sock, CanonicalTrioSocket) else CanonicalTrioSocket(sock)
    made._life = Life(made, lost)
    return made
