"""What tests of asyncio's adapter share: protocols that remember names, and a way to wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from support.processes import PATIENCE

Run = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]


def name_of(ask: Callable[[], Any]) -> Any:
    """None once the peer has reset the connection."""
    try:
        return ask()
    except OSError:
        return None


def names_of(transport: Any) -> list[Any]:
    """Every name that a transport shows: the peer's two times, then its own."""
    sock = transport.get_extra_info("socket")
    return [
        transport.get_extra_info("peername"),
        name_of(sock.getpeername),
        transport.get_extra_info("sockname"),
        name_of(sock.getsockname),
    ]


class Echo(asyncio.Protocol):
    """Remembers every name that it can see."""

    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.seen.append(names_of(transport))

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close a connection once its server has: what a test leaves open is found in the next one."""
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()


def number_of(server: Any) -> int:
    """The port number of a server."""
    number: int = server.sockets[0].getsockname()[1]
    return number


async def until(condition: Callable[[], Any]) -> None:
    """Give the loop its turns until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
