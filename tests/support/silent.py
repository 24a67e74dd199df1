"""Servers on loopback that answer who connects to them, or don't."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from support.programs import free_port


@contextlib.contextmanager
def silent(*hosts: str) -> Iterator[int]:
    """Listening sockets with full backlogs, all on one port, which is given; an attempt to connect
    to them stays under way."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        for host in hosts:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            server = stack.enter_context(socket.socket(family))
            server.bind((host, port))
            # Linux takes one connection more than that.
            server.listen(0)
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
