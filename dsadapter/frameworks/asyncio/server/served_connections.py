"""The connections of a server that hands them to its loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from weakref import ref

from dsadapter.frameworks.asyncio.loop_sockets import (
    HandedSocket,
    ProxiedHandedSocket,
    WatchedHandedSocket,
)

Handed = HandedSocket | WatchedHandedSocket | ProxiedHandedSocket

Connect = Callable[[], Awaitable[tuple[Any, Any]]]

_FEW = 64


class ServedConnections:
    """Knows the open connections, and says which ones could not be served.

    :param sock: the listening one; for what is said.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: Any) -> None:
        self._loop = loop
        self._socket = sock
        self._beginning: set[asyncio.Task[None]] = set()
        # Weak, so that an abandoned transport is found to be one: uvloop closes that when it is
        # collected. Of transports that take no weak reference, such as uvloop's of TLS, their
        # sockets. Those that are gone are left out when they have become many.
        self._kept: list[ref[Any]] = []
        self._many = _FEW

    def begin(self, sock: Handed, connect: Connect) -> None:
        """Have a connection begin, which may take its time.

        :param connect: calls the loop's ``connect_accepted_socket``.
        """
        task = self._loop.create_task(self._begin(sock, connect))
        self._beginning.add(task)
        task.add_done_callback(partial(self._ended, sock))

    def keep(self, transport: asyncio.BaseTransport, sock: Handed | None = None) -> None:
        """Know an open connection.

        :param sock: its socket; None where it is the loop's alone.
        """
        try:
            self._kept.append(ref(transport))
        except TypeError:
            if sock is None:
                raise
            sock.transport = transport
            self._kept.append(ref(sock))
        if len(self._kept) > self._many:
            self._kept = [each for each in self._kept if each() is not None]
            self._many = 2 * len(self._kept) + _FEW

    def failed(self, error: BaseException) -> None:
        """Say that a connection could not be served, unless that is its client's doing.

        :raises BaseException: what is to end the program.
        """
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            raise error
        # A client that is gone, or speaks no TLS, is nobody's fault here.
        if not isinstance(error, OSError):
            self.report("an accepted connection could not be served", error)

    def report(self, message: str, error: BaseException) -> None:
        """Tell the loop's exception handler."""
        self._loop.call_exception_handler(
            {"message": message, "exception": error, "socket": self._socket}
        )

    def close(self) -> None:
        """Close every connection, gracefully; at once where it is still in a handshake."""
        for transport in self._open():
            transport.close()

    def abort(self) -> None:
        """Close every connection at once."""
        for transport in self._open():
            transport.abort()

    def _open(self) -> list[Any]:
        for task in self._beginning:
            task.cancel()
        kept = [each for kept in self._kept if (each := kept()) is not None]
        found = [each.transport if isinstance(each, Handed) else each for each in kept]
        return [transport for transport in found if transport is not None]

    async def _begin(self, sock: Handed, connect: Connect) -> None:
        try:
            transport, _ = await connect()
        except Exception as error:
            sock.close()
            self.failed(error)
        else:
            # In this turn, in which all may be closed.
            self.keep(transport, sock)

    def _ended(self, sock: Handed, task: asyncio.Task[None]) -> None:
        self._beginning.discard(task)
        if task.cancelled() or task.exception() is not None:
            sock.close()
