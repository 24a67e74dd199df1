"""Clients that have done something before they are accepted."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple


class Peer(NamedTuple):
    """A client, as it saw itself when it had connected."""

    client: socket.socket
    name: Any
    server: Any


def _stay(client: socket.socket) -> None:
    pass


def _half_close(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


def _close(client: socket.socket) -> None:
    client.close()


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


DEEDS: dict[str, Callable[[socket.socket], None]] = {
    "stays": _stay,
    "half-closes": _half_close,
    "closes": _close,
    "resets": _reset,
}


@contextlib.contextmanager
def early_peer(
    host: str, port: int, deed: str = "stays", request: bytes = b"request"
) -> Iterator[Peer]:
    """A client that connects, sends a request and does its deed. Over the loopback the server's
    kernel has met all of it when this returns."""
    with socket.create_connection((host, port), timeout=30) as client:
        peer = Peer(client, client.getsockname(), client.getpeername())
        client.sendall(request)
        DEEDS[deed](client)
        yield peer
