"""Telling plugins of connections that a loop has accepted itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dsadapter.frameworks.asyncio.server.accepting import ProtocolFactory
from dsadapter.frameworks.asyncio.transports import intercepted
from dsadapter.listener import Listener


def telling_factory(listener: Listener, factory: ProtocolFactory) -> ProtocolFactory:
    """A protocol factory that tells observers of its connections, if there are any by then.

    :param listener: of one family or a pair, so that every name is canonical of itself.
    """
    hooks = listener.hooks

    def build() -> asyncio.BaseProtocol:
        protocol = factory()
        return protocol if hooks.connections is None else _watched(listener, protocol)

    return build


def _watched(listener: Listener, protocol: asyncio.BaseProtocol) -> asyncio.BaseProtocol:
    made, lost = protocol.connection_made, protocol.connection_lost

    def connection_made(transport: asyncio.BaseTransport) -> None:
        stop_intercepting()
        peer, local = map(transport.get_extra_info, ("peername", "sockname"))
        if peer and local:
            tell_lost = listener.accepted(peer, local)
            if tell_lost is not None:
                told.append(tell_lost)
        made(transport)

    def connection_lost(error: Exception | None) -> None:
        try:
            lost(error)
        finally:
            for tell_lost in told:
                tell_lost()

    told: list[Callable[[], None]] = []
    shown, _ = intercepted(protocol, "connection_lost", connection_lost)
    shown, stop_intercepting = intercepted(shown, "connection_made", connection_made)
    return shown
