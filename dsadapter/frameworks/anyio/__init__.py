"""Dual-stack servers, connections and datagrams for AnyIO, on each of its back ends.

The functions have the signatures of AnyIO's own. The application passes and sees canonical
addresses only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsadapter.frameworks.lazy import lazy_names

if TYPE_CHECKING:
    from dsadapter.frameworks.anyio.client.connecting_tcp import connect_tcp
    from dsadapter.frameworks.anyio.datagram.udp_datagrams import (
        DualStackConnectedUDPSocket,
        DualStackUDPSocket,
        create_connected_udp_socket,
        create_udp_socket,
    )
    from dsadapter.frameworks.anyio.server.socket_listener import create_tcp_listener

__all__ = [
    "DualStackConnectedUDPSocket",
    "DualStackUDPSocket",
    "connect_tcp",
    "create_connected_udp_socket",
    "create_tcp_listener",
    "create_udp_socket",
]

_MODULES = {
    "DualStackConnectedUDPSocket": "datagram.udp_datagrams",
    "DualStackUDPSocket": "datagram.udp_datagrams",
    "connect_tcp": "client.connecting_tcp",
    "create_connected_udp_socket": "datagram.udp_datagrams",
    "create_tcp_listener": "server.socket_listener",
    "create_udp_socket": "datagram.udp_datagrams",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES, "anyio", "anyio")
