"""Hold a port in one way, in a process of its own: ``python port_holding.py HOW PORT``.

It says a line of JSON when it does, and ends when it is killed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

HERE = __file__


def hold(how: str, port: int) -> list[socket.socket]:
    """The sockets of one way to hold a port."""
    protocol, _, what = how.partition(" ")
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    if what == "reuseport":
        return [_bound(kind, "::", port, v6only=False, share=True) for _ in range(3)]
    if what == "bound":
        return [_bound(kind, "0.0.0.0", port, listens=False)]
    if what == "client":
        server = socket.create_server(("127.0.0.1", 0))
        client = socket.socket()
        client.bind(("127.0.0.1", port))
        client.connect(server.getsockname())
        return [server, client]
    host, _, v6only = what.partition(" ")
    return [_bound(kind, host, port, v6only=bool(v6only))]


def _bound(
    kind: int,
    host: str,
    port: int,
    *,
    v6only: bool = False,
    share: bool = False,
    listens: bool = True,
) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    if ":" in host:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(v6only))
    if share:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, port))
    if kind == socket.SOCK_STREAM and listens:
        sock.listen()
    return sock


if __name__ == "__main__":
    held = hold(sys.argv[1], int(sys.argv[2]))
    print(json.dumps({"pid": os.getpid()}), flush=True)
    signal.pause()
