"""Middleware for ASGI servers that accept connections where nothing else can translate, such as
granian."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from dsadapter.addressing.told import unmap_told

__all__ = ["CanonicalAddresses"]

# Servers and frameworks each have types of their own for scopes and messages.
Application = Callable[[Any, Any, Any], Awaitable[None]]


class CanonicalAddresses:
    """An ASGI application whose ``scope["client"]`` and ``scope["server"]`` are canonical.

    Scopes of HTTP and WebSocket connections are translated, ``lifespan`` and unknown ones are
    passed on. What a proxy has said in a header is left as it is: put this outside of whatever
    reads such headers. A scope with a mapped address is copied; any other is passed on itself.

    :param application: an ASGI 3 application.
    """

    __slots__ = ("application",)

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection, as ASGI has it."""
        if scope["type"] in ("http", "websocket"):
            client, server = scope.get("client"), scope.get("server")
            peer, local = _canonical(client), _canonical(server)
            if peer is not client or local is not server:
                scope = {**scope, "client": peer, "server": local}
        await self.application(scope, receive, send)


def _canonical(address: Any) -> Any:
    is_list = type(address) is list
    if not address or not (is_list or isinstance(address, (tuple, list))):
        return address
    told = address[0]
    host = unmap_told(told)
    if host is told:
        return address
    return [host, *address[1:]] if is_list else (host, *address[1:])
