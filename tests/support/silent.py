"""Servers on loopback that answer who connects to them, or don't."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def silent(*hosts: str, port: int = 0) -> Iterator[int]:
    """Listening sockets with full backlogs, all on one port, which is given; an attempt to connect
    to them stays under way."""
    with contextlib.ExitStack() as stack:
        for host in hosts:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            server = stack.enter_context(socket.socket(family))
            server.bind((host, port))
            # Linux takes one connection more than that.
            server.listen(0)
            port = server.getsockname()[1]
            stack.enter_context(socket.create_connection((host, port)))
        yield port


@contextlib.contextmanager
def answering(port: int, *hosts: str) -> Iterator[None]:
    """Listening sockets on one port."""
    with contextlib.ExitStack() as stack:
        for host in hosts:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            stack.enter_context(socket.create_server((host, port), family=family))
        yield
