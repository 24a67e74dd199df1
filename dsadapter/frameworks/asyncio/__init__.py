"""Dual-stack servers, connections and datagrams for asyncio, whatever the loop.

The functions have the signatures of ``loop.create_server`` and its siblings, and take the running
loop. The application passes and sees canonical addresses only.
"""

from dsadapter.frameworks.asyncio.client.stream_client import create_connection, open_connection
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
