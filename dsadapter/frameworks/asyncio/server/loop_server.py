"""A server whose loop accepts from a socket of one family, as it would without us."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import finalize

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.frameworks.asyncio.loop_sockets import LoopSocket
from dsadapter.frameworks.asyncio.server.accepting import ProtocolFactory
from dsadapter.frameworks.asyncio.server.served_connections import ServedConnections
from dsadapter.frameworks.asyncio.transports import Interception
from dsadapter.ready.ready_socket import listener_of
from dsadapter.sockets.system_errors import system_error
from dsadapter.stand_in import StandIn


class LoopServer(StandIn):
    """The loop's own server, whose connections can be closed and plugins are told of."""

    __slots__ = ("_served",)

    _served: ServedConnections

    @classmethod
    async def made(
        cls,
        loop: asyncio.AbstractEventLoop,
        sock: LoopSocket,
        factory: ProtocolFactory,
        options: dict[str, Any],
    ) -> LoopServer:
        """As ``loop.create_server``, not serving yet.

        :param options: what that takes beside.
        """
        served = ServedConnections(loop, sock)
        following = _following(sock, factory, served)
        server = cls(await loop.create_server(following, sock=sock, start_serving=False, **options))
        server._served = served
        return server

    def close_clients(self) -> None:
        """Close every connection, gracefully."""
        self._served.close()

    def abort_clients(self) -> None:
        """Close every connection at once."""
        self._served.abort()


def _name_of(transport: asyncio.BaseTransport) -> SocketAddress:
    name: SocketAddress | None = transport.get_extra_info("sockname")
    if name is None:
        raise system_error(errno.ENOTCONN)
    return name


def _following(
    sock: LoopSocket, factory: ProtocolFactory, served: ServedConnections
) -> ProtocolFactory:
    """A protocol factory that knows the transports of open connections, and tells observers, if
    there are any by then; every name is canonical of itself."""
    listener = listener_of(sock)

    def build() -> asyncio.BaseProtocol:
        ends: list[finalize[Any, Any]] = []
        observed = None if listener is None or listener.hooks.connections is None else listener

        def connection_made(transport: asyncio.BaseTransport) -> None:
            interception.stop("connection_made")
            served.keep(transport)
            if observed is not None:
                peer = transport.get_extra_info("peername")
                name = partial(_name_of, transport)
                told = observed.accepted(peer, name) if peer else None
                if told is not None:
                    # The transport may be gone by then.
                    told.closing()
                    # Another protocol may be the transport's when it ends.
                    end = finalize(transport, told)
                    end.atexit = False
                    ends.append(end)
            own["connection_made"](transport)

        def connection_lost(error: Exception | None) -> None:
            alive = ends and ends[0].peek()
            if alive and not alive[0].is_closing():
                # It is another one's, which has the same protocol without us.
                own["connection_lost"](error)
                return
            interception.stop("connection_lost")
            try:
                own["connection_lost"](error)
            finally:
                for end in ends:
                    end()

        instead: dict[str, Callable[..., None]] = {"connection_made": connection_made}
        if observed is not None:
            instead["connection_lost"] = connection_lost
        interception = Interception(factory(), **instead)
        own = interception.own
        shown: asyncio.BaseProtocol = interception.shown
        return shown

    return build
