"""A server whose loop accepts from a socket of one family, as it would without us."""

from __future__ import annotations

import asyncio
from typing import Any

from dsadapter.frameworks.asyncio.loop_sockets import LoopSocket
from dsadapter.frameworks.asyncio.server.accepting import ProtocolFactory
from dsadapter.frameworks.asyncio.transports import intercepted
from dsadapter.ready.ready_socket import listener_of
from dsadapter.stand_in import StandIn


class LoopServer(StandIn):
    """The loop's own server, whose connections can be closed and plugins are told of."""

    __slots__ = ("_transports",)

    _transports: set[Any]

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
        transports: set[Any] = set()
        following = _following(sock, factory, transports)
        server = cls(await loop.create_server(following, sock=sock, start_serving=False, **options))
        server._transports = transports
        return server

    def close_clients(self) -> None:
        """Close every connection, gracefully."""
        for transport in list(self._transports):
            transport.close()

    def abort_clients(self) -> None:
        """Close every connection at once."""
        for transport in list(self._transports):
            transport.abort()


def _following(sock: LoopSocket, factory: ProtocolFactory, transports: set[Any]) -> ProtocolFactory:
    """A protocol factory that keeps the transports of open connections, and tells observers, if
    there are any by then; every name is canonical of itself."""
    listener = listener_of(sock)

    def build() -> asyncio.BaseProtocol:
        protocol = factory()
        made, lost = protocol.connection_made, protocol.connection_lost
        told: list[Any] = []
        open_transport: list[Any] = []

        def connection_made(transport: asyncio.BaseTransport) -> None:
            stop_intercepting()
            open_transport.append(transport)
            transports.add(transport)
            if listener is not None and listener.hooks.connections is not None:
                peer, local = map(transport.get_extra_info, ("peername", "sockname"))
                if peer and local:
                    told.append(listener.accepted(peer, local))
            made(transport)

        def connection_lost(error: Exception | None) -> None:
            transports.difference_update(open_transport)
            try:
                lost(error)
            finally:
                if told and told[0] is not None:
                    told[0]()

        shown, _ = intercepted(protocol, "connection_lost", connection_lost)
        shown, stop_intercepting = intercepted(shown, "connection_made", connection_made)
        return shown

    return build
