"""Dual-stack servers and connections for asyncio, whatever the loop.

The functions have the signatures of ``loop.create_server`` and its siblings, and take the running
loop. The application passes and sees canonical addresses only.
"""

from dsadapter.frameworks.asyncio.client.stream_client import create_connection, open_connection
from dsadapter.frameworks.asyncio.server.stream_server import (
    DualStackServer,
    create_server,
    start_server,
)

__all__ = [
    "DualStackServer",
    "create_connection",
    "create_server",
    "open_connection",
    "start_server",
]
