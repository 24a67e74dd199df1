"""A server for loops that read names from the bare descriptor."""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from asyncio.trsock import TransportSocket
from typing import Any

from dsadapter.frameworks.asyncio.loop_sockets import AcceptingSocket
from dsadapter.frameworks.asyncio.server.accepting import Acceptor, ProtocolFactory
from dsadapter.sockets.binding import is_listening


class AcceptingServer:
    """What ``asyncio.Server`` is, for one socket that is accepted from by us.

    :param sock: bound; it becomes the server's.
    :param options: those of ``loop.create_server`` about TLS, if there is any.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: AcceptingSocket,
        factory: ProtocolFactory,
        backlog: int,
        ssl: ssl_module.SSLContext | None,
        options: dict[str, Any],
    ) -> None:
        self._loop = loop
        self._socket: AcceptingSocket | None = sock
        self._backlog = backlog
        sock.setblocking(False)
        if ssl is not None:
            options = {"ssl": ssl, **options}
        self._acceptor = Acceptor(loop, sock, factory, options)
        self._serving = False
        self._closed = loop.create_future()

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening socket; none once it is closed."""
        return () if self._socket is None else (TransportSocket(self._socket),)

    def is_serving(self) -> bool:
        """Whether it accepts connections."""
        return self._serving

    async def start_serving(self) -> None:
        """Accept connections from now on."""
        if self._socket is None or self._serving:
            return
        self._serving = True
        if not is_listening(self._socket):
            self._socket.listen(self._backlog)
        self._acceptor.start()

    def close(self) -> None:
        """Close the listening socket."""
        sock, self._socket = self._socket, None
        if sock is None:
            return
        if self._serving:
            self._serving = False
            self._acceptor.stop()
        sock.close()
        if not self._closed.done():
            self._closed.set_result(None)

    async def wait_closed(self) -> None:
        """Wait until it is closed."""
        await asyncio.shield(self._closed)

    def close_clients(self) -> None:
        """Close every connection, gracefully."""
        self._acceptor.served.close()

    def abort_clients(self) -> None:
        """Close every connection at once."""
        self._acceptor.served.abort()
