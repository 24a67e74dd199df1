"""Trio, by way of ``dsadapter.frameworks.trio``."""

from __future__ import annotations

import contextlib
from typing import Any

import trio

from dsadapter.frameworks import trio as dual_stack
from dsadapter.testing import Report

from .anyio_driver import PortalDriver, ask, serving
from .groups import membership


def names(stream: Any) -> dict[str, Any]:
    sock = getattr(stream, "transport_stream", stream).socket
    return {
        "peer": sock.getpeername,
        "local": sock.getsockname,
        "handle_peer": sock.getpeername,
        "handle_local": sock.getsockname,
        "texts": [repr(sock)],
    }


class TrioDriver(PortalDriver):
    """Trio's functions."""

    backend = "trio"

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
            told = names(stream)
            report(accepted=told["peer"], **told)
            with contextlib.suppress(trio.BrokenResourceError):
                async with stream:
                    async for data in stream:
                        await stream.send_all(data)

        async def serve(listeners: Any) -> None:
            try:
                await trio.serve_listeners(echo, listeners)
            finally:
                for listener in listeners:
                    await trio.aclose_forcefully(listener)

        proxies = ["127.0.0.1"] if proxy else None
        listeners: Any = self.portal.call(
            lambda: dual_stack.open_tcp_listeners(port, host=host, proxy_from=proxies)
        )
        addresses = [listener.socket.getsockname() for listener in listeners]
        if tls is not None:
            context = serving(tls)
            listeners = [
                trio.SSLListener(each, context, https_compatible=True) for each in listeners
            ]
        self.start(serve, listeners)
        return addresses

    def connect(self, host: str, port: int, report: Report, *, source: str | None = None) -> None:
        async def request() -> None:
            async with await dual_stack.open_tcp_stream(host, port, local_address=source) as stream:
                report(**names(stream))
                await ask(stream.send_all, stream.receive_some)

        self.portal.call(request)

    def bind(
        self, host: str, port: int, report: Report, *, peer: tuple[str, int] | None = None
    ) -> Any:
        async def opened() -> Any:
            sock = await dual_stack.open_udp_socket(port, host=host)
            if peer is not None:
                await sock.connect(peer)
                report(peer=sock.getpeername())
            return sock

        async def echo(sock: Any) -> None:
            with sock:
                await self.echo_datagrams(sock, sock.sendto, report)

        sock = self.portal.call(opened)
        self.datagrams.append(sock)
        self.start(echo, sock)
        return sock.getsockname()

    def join(self, group: str, interface: str) -> None:
        self.datagrams[-1].setsockopt(*membership(group, interface))
