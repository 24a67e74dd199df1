"""The ready socket on event loops: whoever accepts past its methods is warned of."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from support.loops import LOOPS

from dsadapter.frameworks import asyncio as ours
from dsadapter.sockets.listening import listening_socket

pytestmark = pytest.mark.not_on_windows("uvloop, and Proactor refuses it")
WARNING = "accepts from the bare descriptor"


async def accept(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    waiting = asyncio.ensure_future(loop.sock_accept(sock))
    with socket.create_connection(("::1", sock.getsockname()[1])):
        accepted, _ = await waiting
        accepted.close()


async def serve(create_server: Any, sock: socket.socket) -> None:
    server = await create_server(asyncio.Protocol, sock=sock)
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("family", [None, "ipv6"])
@pytest.mark.parametrize("way", ["loop's", "ours", "accept"])
@pytest.mark.parametrize("name", ["asyncio", "uvloop"])
def test_a_loop_that_shows_mapped_addresses_is_warned_of(
    name: str, way: str, family: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        with listening_socket("::", 0, family=family) as sock:
            if way == "accept":
                await accept(sock)
            elif way == "ours":
                await serve(ours.create_server, sock)
            else:
                await serve(asyncio.get_running_loop().create_server, sock)

    LOOPS[name](main)
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    shows_mapped = (name, way, family) == ("uvloop", "loop's", None)
    assert [WARNING in each for each in warnings] == [True] * shows_mapped
