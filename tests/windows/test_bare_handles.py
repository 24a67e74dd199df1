"""What asyncio's Proactor loop would read from the bare handle, and show as it is there."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from dsadapter.frameworks.asyncio import create_datagram_endpoint, create_server
from dsadapter.frameworks.blocking import TranslatingSocket
from dsadapter.sockets.listening import listening_socket

REFUSED = r"\.frameworks\.asyncio\.create_{}\(\.\.\., sock=sock\), or run on .*SelectorEventLoop"


class Names(asyncio.Protocol):
    """Tells a client what it is called."""

    def connection_made(self, transport: Any) -> None:
        transport.write(transport.get_extra_info("peername")[0].encode())
        transport.close()


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(addr[0].encode(), addr)


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with listening_socket("::", 0) as opened:
        yield opened


@pytest.fixture
def datagrams() -> Iterator[socket.socket]:
    with TranslatingSocket(type=socket.SOCK_DGRAM) as opened:
        opened.bind(("::", 0))
        yield opened


async def asked(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    said = await reader.read()
    writer.close()
    return said


@pytest.mark.parametrize("options", [{}, {"start_serving": False}])
def test_a_server_of_the_loop_is_refused_and_ours_serves(
    sock: socket.socket, options: dict[str, Any]
) -> None:
    port = sock.getsockname()[1]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(OSError, match=REFUSED.format("server")) as caught:
            await loop.create_server(Names, sock=sock, **options)
        assert caught.value.errno == errno.EOPNOTSUPP
        async with await create_server(Names, sock=sock):
            assert [await asked(host, port) for host in ("127.0.0.1", "::1")] == [
                b"127.0.0.1",
                b"::1",
            ]

    asyncio.run(main())


def test_accepting_by_the_loop_is_refused(sock: socket.socket) -> None:
    sock.setblocking(False)

    async def main() -> None:
        with pytest.raises(OSError, match=REFUSED.format("server")):
            await asyncio.get_running_loop().sock_accept(sock)

    asyncio.run(main())


def test_the_selector_loop_serves_it(sock: socket.socket) -> None:
    port = sock.getsockname()[1]

    async def main() -> None:
        async with await asyncio.get_running_loop().create_server(Names, sock=sock):
            assert await asked("127.0.0.1", port) == b"127.0.0.1"

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(main())


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", None), ("::1", "ipv6")])
def test_one_of_one_family_is_served(host: str, family: Any) -> None:
    async def main() -> None:
        opened = listening_socket(host, 0, family=family)
        port = opened.getsockname()[1]
        async with await asyncio.get_running_loop().create_server(Names, sock=opened):
            assert await asked(host, port) == host.encode()

    asyncio.run(main())


def test_datagrams_of_the_loop_are_refused_and_ours_come(datagrams: socket.socket) -> None:
    port = datagrams.getsockname()[1]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        refused = pytest.raises(OSError, match=REFUSED.format("datagram_endpoint"))
        with refused:
            await loop.create_datagram_endpoint(Echo, sock=datagrams)
        datagrams.setblocking(False)
        with refused:
            await loop.sock_recvfrom(datagrams, 100)
        with refused:
            await loop.sock_recvfrom_into(datagrams, bytearray(100))
        transport, _ = await create_datagram_endpoint(Echo, sock=datagrams)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"x", ("127.0.0.1", port))
            assert await asyncio.to_thread(client.recv, 100) == b"127.0.0.1"
        transport.close()
        await asyncio.sleep(0)

    asyncio.run(main())


def test_uvicorn_says_so_and_ends(sock: socket.socket) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None))
    with pytest.raises(OSError, match=REFUSED.format("server")):
        server.run(sockets=[sock])
    assert not server.started


def test_who_shares_the_handle_is_warned(
    sock: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        shared = sock.share(os.getpid())  # type: ignore[attr-defined]
    assert "sees IPv4 peers as IPv4-mapped addresses" in caplog.text
    socket.fromshare(shared).close()  # type: ignore[attr-defined]
