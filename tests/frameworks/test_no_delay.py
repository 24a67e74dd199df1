"""Small pieces of data leave at once (``TCP_NODELAY``) wherever a framework's own do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import anyio
import pytest
import trio
from anyio.abc import SocketAttribute
from support.back_ends import BACK_ENDS
from support.loop_servers import Run
from support.windows import trio_starts

from dsadapter.frameworks import anyio as dual_anyio
from dsadapter.frameworks import asyncio as dual_asyncio
from dsadapter.frameworks import trio as dual_trio
from dsadapter.sockets.listening import listening_socket

HOSTS = ["127.0.0.1", "::1"]
NO_PROTOCOL = "an accepted socket knows no protocol there, by which asyncio tells TCP"


def leaves_at_once(sock: Any) -> bool:
    return bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))


async def by_asyncio(serve: Callable[..., Any], host: str) -> list[bool]:
    accepted: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def met(_reader: Any, writer: asyncio.StreamWriter) -> None:
        accepted.set_result(leaves_at_once(writer.get_extra_info("socket")))
        writer.close()

    server = await serve(met)
    _, writer = await dual_asyncio.open_connection(host, server.sockets[0].getsockname()[1])
    seen = [leaves_at_once(writer.get_extra_info("socket")), await accepted]
    writer.close()
    server.close()
    return seen


@pytest.mark.not_on_windows(NO_PROTOCOL)
@pytest.mark.parametrize("host", HOSTS)
def test_asyncio(run: Run, host: str) -> None:
    seen = run(lambda: by_asyncio(lambda met: dual_asyncio.start_server(met, None, 0), host))
    assert seen == [True, True]


@pytest.mark.not_on_windows(NO_PROTOCOL)
@pytest.mark.parametrize("host", HOSTS)
def test_a_ready_socket_in_asyncios_own_server(run: Run, host: str) -> None:
    def serve(met: Any) -> Any:
        return asyncio.start_server(met, sock=listening_socket("", 0))

    assert run(lambda: by_asyncio(serve, host)) == [True, True]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("back_end", BACK_ENDS.values(), ids=BACK_ENDS.keys())
def test_anyio(back_end: tuple[str, dict[str, Any]], host: str) -> None:
    async def main() -> None:
        async with await dual_anyio.create_tcp_listener() as listeners:
            number = listeners.extra(SocketAttribute.local_port)
            async with await dual_anyio.connect_tcp(host, number) as client:
                async with await listeners.listeners[0].accept() as server:
                    for stream in (client, server):
                        assert leaves_at_once(stream.extra(SocketAttribute.raw_socket))

    anyio.run(main, backend=back_end[0], backend_options=back_end[1])


@trio_starts
@pytest.mark.parametrize("host", HOSTS)
def test_trio(host: str) -> None:
    async def main() -> None:
        [listener] = await dual_trio.open_tcp_listeners(0)
        number = listener.socket.getsockname()[1]
        async with listener, await dual_trio.open_tcp_stream(host, number) as client:
            async with await listener.accept() as server:
                assert leaves_at_once(client.socket)
                assert leaves_at_once(server.socket)

    trio.run(main)
