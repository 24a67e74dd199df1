"""Dual-stack servers, connections and datagrams for asyncio, whatever the loop.

The functions have the signatures of ``loop.create_server`` and its siblings, and take the running
loop. The application passes and sees canonical addresses only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsadapter.frameworks.lazy import lazy_names

if TYPE_CHECKING:
    from dsadapter.frameworks.asyncio.client.stream_client import (
        create_connection,
        open_connection,
    )
    from dsadapter.frameworks.asyncio.datagram.datagram_creation import create_datagram_endpoint
    from dsadapter.frameworks.asyncio.datagram.datagram_transport import DualStackDatagramTransport
    from dsadapter.frameworks.asyncio.server.stream_server import (
        DualStackServer,
        create_server,
        start_server,
    )

__all__ = [
    "DualStackDatagramTransport",
    "DualStackServer",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "open_connection",
    "start_server",
]

_MODULES = {
    "DualStackDatagramTransport": "datagram.datagram_transport",
    "DualStackServer": "server.stream_server",
    "create_connection": "client.stream_client",
    "create_datagram_endpoint": "datagram.datagram_creation",
    "create_server": "server.stream_server",
    "open_connection": "client.stream_client",
    "start_server": "server.stream_server",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
