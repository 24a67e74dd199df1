"""AnyIO, on a back end of any kind, by way of ``dsadapter.frameworks.anyio``."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, ClassVar

import anyio
from anyio.abc import SocketAttribute
from anyio.from_thread import start_blocking_portal
from anyio.streams.tls import TLSListener

from dsadapter.frameworks import anyio as dual_stack
from dsadapter.testing import Driver, Report

from .groups import membership


def names(stream: Any) -> dict[str, Any]:
    sock = stream.extra(SocketAttribute.raw_socket)
    return {
        "peer": stream.extra(SocketAttribute.remote_address, None),
        "local": stream.extra(SocketAttribute.local_address),
        "handle_peer": sock.getpeername,
        "handle_local": sock.getsockname,
        "texts": [repr(sock)],
    }


def serving(chain: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context


async def ask(send: Callable[[bytes], Any], receive: Callable[[], Any]) -> None:
    await send(b"request")
    got = b""
    while len(got) < 7:
        got += await receive()


class PortalDriver(Driver):
    """An event loop in a thread; what serves are tasks that are cancelled at the end."""

    backend: ClassVar[str] = "asyncio"
    options: ClassVar[Mapping[str, Any]] = {}

    def __init__(self) -> None:
        self.stack = contextlib.ExitStack()
        portal = start_blocking_portal(self.backend, dict(self.options))
        self.portal = self.stack.enter_context(portal)
        self.tasks: list[Future[Any]] = []
        self.datagrams: list[Any] = []

    def start(self, function: Callable[..., Any], *args: Any) -> None:
        self.tasks.append(self.portal.start_task_soon(function, *args))

    async def echo_datagrams(self, sock: Any, answer: Callable[..., Any], report: Report) -> None:
        while True:
            data, sender, info = await sock.receive_datagram()
            report(source=sender, destination=info.destination, interface=info.interface_name)
            await answer(data, sender)

    def send(
        self, data: bytes, address: tuple[str, int] | None, *, source: str | None = None
    ) -> None:
        self.portal.call(self.datagrams[-1].send_datagram, data, address, source)

    def close(self) -> None:
        async def settled() -> None:
            await anyio.wait_all_tasks_blocked()

        for task in self.tasks:
            task.cancel()
        self.tasks = []
        self.datagrams = []
        # Cancelling is asked for, not waited for.
        self.portal.call(settled)


class AnyIODriver(PortalDriver):
    """AnyIO's functions."""

    def listen(
        self,
        host: str,
        port: int,
        report: Report,
        *,
        tls: str | None = None,
        descriptor: int | None = None,
        proxy: bool = False,
    ) -> list[Any]:
        async def echo(stream: Any) -> None:
            report(accepted=stream.extra(SocketAttribute.remote_address, None), **names(stream))
            with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                async with stream:
                    async for data in stream:
                        await stream.send(data)

        async def serve(listener: Any) -> None:
            async with listener:
                await listener.serve(echo)

        proxies = ["127.0.0.1"] if proxy else None
        listener: Any = self.portal.call(
            lambda: dual_stack.create_tcp_listener(
                local_host=host, local_port=port, proxy_from=proxies
            )
        )
        addresses = [each.extra(SocketAttribute.local_address) for each in listener.listeners]
        if tls is not None:
            listener = TLSListener(listener, serving(tls), standard_compatible=False)
        self.start(serve, listener)
        return addresses

    def connect(self, host: str, port: int, report: Report, *, source: str | None = None) -> None:
        async def request() -> None:
            async with await dual_stack.connect_tcp(host, port, local_host=source) as stream:
                report(**names(stream))
                await ask(stream.send, stream.receive)

        self.portal.call(request)

    def bind(
        self, host: str, port: int, report: Report, *, peer: tuple[str, int] | None = None
    ) -> Any:
        async def opened() -> Any:
            if peer is None:
                return await dual_stack.create_udp_socket(local_host=host, local_port=port)
            connected = await dual_stack.create_connected_udp_socket(
                *peer, local_host=host, local_port=port
            )
            report(peer=connected.extra(SocketAttribute.remote_address))
            return connected

        async def echo(sock: Any) -> None:
            async with sock:
                await self.echo_datagrams(sock, sock.send_datagram, report)

        sock = self.portal.call(opened)
        self.datagrams.append(sock)
        self.start(echo, sock)
        return sock.extra(SocketAttribute.local_address)

    def join(self, group: str, interface: str) -> None:
        sock = self.datagrams[-1].extra(SocketAttribute.raw_socket)
        sock.setsockopt(*membership(group, interface))


class AnyIOOnUvloopDriver(AnyIODriver):
    options: ClassVar[Mapping[str, Any]] = {"use_uvloop": True}


class AnyIOOnTrioDriver(AnyIODriver):
    backend = "trio"
    options: ClassVar[Mapping[str, Any]] = {}
