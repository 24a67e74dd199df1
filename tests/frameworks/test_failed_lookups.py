"""Datagrams to a name that the resolver knows nothing of."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import anyio
import pytest
import trio
from support.windows import trio_starts

import dsadapter.frameworks.anyio as dual_anyio
import dsadapter.frameworks.asyncio as dual_asyncio
import dsadapter.frameworks.trio as dual_trio
from dsadapter.frameworks.blocking import TranslatingSocket

NAME = "name.example"


def by_asyncio() -> None:
    async def main() -> None:
        await dual_asyncio.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(NAME, 9))

    asyncio.run(main())


def by_anyio() -> None:
    async def main() -> None:
        await dual_anyio.create_connected_udp_socket(NAME, 9)

    anyio.run(main)


def by_trio() -> None:
    async def main() -> None:
        with await dual_trio.open_udp_socket() as sock:
            await sock.sendto(b"x", (NAME, 9))

    trio.run(main)


def by_plain_code() -> None:
    with TranslatingSocket(type=socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", (NAME, 9))


@pytest.mark.parametrize(
    "send", [by_asyncio, by_anyio, pytest.param(by_trio, marks=trio_starts), by_plain_code]
)
def test_the_name_is_told(send: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_arguments: Any, **_options: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(socket.gaierror, match=f"for the name '{NAME}': try again") as told:
        send()
    assert told.value.errno == socket.EAI_AGAIN
