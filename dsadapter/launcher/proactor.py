"""asyncio's Proactor loop, Windows' own, as a covered process has it.

It accepts and connects past the methods of sockets; names it asks them for.
"""

from __future__ import annotations

import _socket

from dsadapter.launcher.methods import listeners

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_INET6 = int(getattr(_socket, "AF_INET6", -1))
_DATAGRAM = int(_socket.SOCK_DGRAM)


def accept(original: Any, module: Any) -> Any:
    """Each connection is counted, and plugins are told."""

    def accept(self: Any, listener: Any) -> Any:
        coming = original(self, listener)
        known = listeners.get(listener.fileno())
        if known is not None:

            def accepted(done: Any) -> None:
                if not done.cancelled() and done.exception() is None:
                    connection, peer = done.result()
                    known.accepted(connection.fileno(), peer)

            # The first to be told: the loop comes after.
            coming.add_done_callback(accepted)
        return coming

    return accept


def connect(original: Any, module: Any) -> Any:
    """See :mod:`dsadapter.launcher.connecting`."""

    def connect(self: Any, conn: Any, address: Any) -> Any:
        from dsadapter.launcher.connecting import destination

        return original(self, conn, destination(conn, address))

    return connect


def receive(original: Any, module: Any) -> Any:
    """A datagram comes with its canonical sender, or not at all: the loop looks at one that waits,
    and the socket takes it."""
    method = original.__name__
    look: Any = getattr(module.IocpProactor.recvfrom, "_dsadapter_replaces", None)
    look = look or module.IocpProactor.recvfrom

    async def received(self: Any, conn: Any, size: Any) -> Any:
        from dsadapter.launcher.datagrams import exchange_of
        from dsadapter.sockets.winsock import EMSGSIZE

        while True:
            try:
                await look(self, conn, 1, _socket.MSG_PEEK)
            except OSError as error:
                if getattr(error, "winerror", None) != EMSGSIZE:
                    raise
            try:
                return getattr(exchange_of(conn), method)(size)
            except BlockingIOError:
                continue

    def receive(self: Any, conn: Any, size: Any, flags: int = 0) -> Any:
        if conn.family != _INET6 or conn.type != _DATAGRAM or flags:
            return original(self, conn, size, flags)
        return self._loop.create_task(received(self, conn, size))

    return receive


def send(original: Any, module: Any) -> Any:
    """A datagram goes to a canonical address, from where it was asked."""

    def send(self: Any, conn: Any, buf: Any, flags: int = 0, addr: Any = None) -> Any:
        if conn.family != _INET6 or conn.type != _DATAGRAM or addr is None or flags:
            return original(self, conn, buf, flags, addr)
        from dsadapter.launcher.datagrams import exchange_of

        return self._result(exchange_of(conn).sendto(buf, addr))

    return send
