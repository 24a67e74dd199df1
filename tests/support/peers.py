"""Plain datagram sockets that talk to what is tested."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def peer(host: str | None = None, family: int = socket.AF_INET) -> Iterator[socket.socket]:
    """A plain socket of one family."""
    if host is not None and ":" in host:
        family = socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.settimeout(20)
        if host is not None:
            made.bind((host, 0))
        yield made
