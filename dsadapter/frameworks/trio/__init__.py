"""Dual-stack servers, connections and datagrams for Trio.

The functions have the signatures of Trio's own, and give Trio's own streams and listeners. The
application passes and sees canonical addresses only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsadapter.frameworks.lazy import lazy_names

if TYPE_CHECKING:
    from dsadapter.frameworks.trio.client.tcp_stream import (
        open_ssl_over_tcp_stream,
        open_tcp_stream,
    )
    from dsadapter.frameworks.trio.datagram.udp_socket import DualStackUDPSocket, open_udp_socket
    from dsadapter.frameworks.trio.server.tcp_listeners import (
        open_ssl_over_tcp_listeners,
        open_tcp_listeners,
        serve_ssl_over_tcp,
        serve_tcp,
    )

__all__ = [
    "DualStackUDPSocket",
    "open_ssl_over_tcp_listeners",
    "open_ssl_over_tcp_stream",
    "open_tcp_listeners",
    "open_tcp_stream",
    "open_udp_socket",
    "serve_ssl_over_tcp",
    "serve_tcp",
]

_MODULES = {
    "DualStackUDPSocket": "datagram.udp_socket",
    "open_ssl_over_tcp_listeners": "server.tcp_listeners",
    "open_ssl_over_tcp_stream": "client.tcp_stream",
    "open_tcp_listeners": "server.tcp_listeners",
    "open_tcp_stream": "client.tcp_stream",
    "open_udp_socket": "datagram.udp_socket",
    "serve_ssl_over_tcp": "server.tcp_listeners",
    "serve_tcp": "server.tcp_listeners",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES, "trio", "trio")
