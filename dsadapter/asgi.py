"""Middleware for ASGI servers that accept connections where nothing else can translate, such as
granian."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from dsadapter.addressing.told import unmap_told

__all__ = ["CanonicalAddresses"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI has it."""
        if scope["type"] in ("http", "websocket"):
            client, server = scope.get("client"), scope.get("server")
            told = _canonical(client), _canonical(server)
            if told != (client, server):
                scope = {**scope, "client": told[0], "server": told[1]}
        await self.application(scope, receive, send)


def _canonical(address: Any) -> Any:
    is_tuple = type(address) is tuple
    if not address or not (is_tuple or isinstance(address, (tuple, list))):
        return address
    told = address[0]
    host = unmap_told(told)
    if host is told:
        return address
    return (host, *address[1:]) if is_tuple else type(address)((host, *address[1:]))
