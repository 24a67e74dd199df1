"""What a listener is advised that lacks one family, fed back to its function."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from socketserver import BaseRequestHandler, TCPServer, UDPServer
from typing import Any

import anyio
import pytest
import trio
from support.programs import free_port

import dsadapter.frameworks.anyio as dual_anyio
import dsadapter.frameworks.asyncio as dual_asyncio
import dsadapter.frameworks.trio as dual_trio
from dsadapter.frameworks.blocking import DualStackMixin, create_server
from dsadapter.sockets.listening import listening_socket

pytestmark = pytest.mark.not_on_windows("the advice is the same there")


def by_asyncio(port: int, **family: Any) -> tuple[Any, ...]:
    async def main() -> tuple[Any, ...]:
        async with await dual_asyncio.create_server(
            asyncio.Protocol, None, port, **family
        ) as server:
            return server.sockets[0].getsockname()

    return asyncio.run(main())


def by_asyncio_datagrams(port: int, **family: Any) -> tuple[Any, ...]:
    async def main() -> tuple[Any, ...]:
        transport, _ = await dual_asyncio.create_datagram_endpoint(
            asyncio.DatagramProtocol, ("", port), **family
        )
        name = transport.get_extra_info("sockname")
        transport.close()
        return name

    return asyncio.run(main())


def by_trio(port: int, **family: Any) -> tuple[Any, ...]:
    async def main() -> tuple[Any, ...]:
        [listener] = await dual_trio.open_tcp_listeners(port, **family)
        async with listener:
            return listener.socket.getsockname()

    return trio.run(main)


def by_trio_datagrams(port: int, **family: Any) -> tuple[Any, ...]:
    async def main() -> tuple[Any, ...]:
        with closing(await dual_trio.open_udp_socket(port, **family)) as sock:
            return sock.getsockname()

    return trio.run(main)


def by_anyio(port: int, **family: Any) -> tuple[Any, ...]:
    async def main() -> tuple[Any, ...]:
        async with await dual_anyio.create_tcp_listener(local_port=port, **family) as listener:
            [only] = listener.listeners
            return only.extra(anyio.abc.SocketAttribute.raw_socket).getsockname()

    return anyio.run(main)


def by_anyio_datagrams(port: int, **family: Any) -> tuple[Any, ...]:
    async def main() -> tuple[Any, ...]:
        async with await dual_anyio.create_udp_socket(local_port=port, **family) as sock:
            return sock.extra(anyio.abc.SocketAttribute.raw_socket).getsockname()

    return anyio.run(main)


def by_create_server(port: int, **family: Any) -> tuple[Any, ...]:
    with create_server(("", port), **family) as sock:
        return sock.getsockname()


def by_listening_socket(port: int, **family: Any) -> tuple[Any, ...]:
    with listening_socket("::", port, **family) as sock:
        return sock.getsockname()


def by_mixin(port: int, **family: Any) -> tuple[Any, ...]:
    kind: Any = type("Server", (DualStackMixin, TCPServer), family)
    with kind(("", port), BaseRequestHandler) as server:
        return server.socket.getsockname()


def by_mixin_for_datagrams(port: int, **family: Any) -> tuple[Any, ...]:
    kind: Any = type("Server", (DualStackMixin, UDPServer), family)
    with kind(("", port), BaseRequestHandler) as server:
        return server.socket.getsockname()


WAYS = {
    "asyncio": by_asyncio,
    "asyncio datagrams": by_asyncio_datagrams,
    "trio": by_trio,
    "trio datagrams": by_trio_datagrams,
    "anyio": by_anyio,
    "anyio datagrams": by_anyio_datagrams,
    "create_server": by_create_server,
    "listening_socket": by_listening_socket,
    "mixin": by_mixin,
    "mixin for datagrams": by_mixin_for_datagrams,
}


@pytest.fixture(params=["127.0.0.1", "::1"])
def held(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """A port that others hold on one address, for TCP and UDP."""
    host, port = request.param, free_port()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.create_server((host, port), family=family),
        socket.socket(family, socket.SOCK_DGRAM) as datagrams,
    ):
        datagrams.bind((host, port))
        yield host, port


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_the_free_family_is_advised_as_the_function_takes_it(
    way: Callable[..., tuple[Any, ...]], held: tuple[str, int]
) -> None:
    host, port = held
    with pytest.raises(OSError, match="held by another socket") as told:
        way(port)
    [advice] = re.findall(r"; family=(\S+) serves IPv[46] alone", str(told.value))
    assert way(port, family=eval(advice, {"socket": socket}))[:2] == (
        "::" if host == "127.0.0.1" else "0.0.0.0",
        port,
    )
