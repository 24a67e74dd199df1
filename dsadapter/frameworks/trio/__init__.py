"""Dual-stack servers, connections and datagrams for Trio.

The functions have the signatures of Trio's own, and give Trio's own streams and listeners. The
application passes and sees canonical addresses only.
"""

try:
    import trio as _trio  # noqa: F401
except ImportError as error:
    raise ImportError(
        "Trio is not installed; install 'dsadapter[trio]'", name=error.name, path=error.path
    ) from error

from dsadapter.frameworks.trio.client.tcp_stream import open_ssl_over_tcp_stream, open_tcp_stream
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
