"""A Trio application as its author types it, under mypy strict; what is ignored has to be wrong."""

from __future__ import annotations

import ssl

import trio

from dsadapter.frameworks.trio import (
    open_ssl_over_tcp_stream,
    open_tcp_listeners,
    open_tcp_stream,
    open_udp_socket,
    serve_ssl_over_tcp,
    serve_tcp,
)


async def echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def echo_over_tls(stream: trio.SSLStream[trio.SocketStream]) -> None:
    await stream.send_all(await stream.receive_some())


async def main(context: ssl.SSLContext) -> None:
    listeners: list[trio.SocketListener] = await open_tcp_listeners(0, host="::", family="ipv6")
    stream: trio.SocketStream = await open_tcp_stream("localhost", 80, local_address="127.0.0.1")
    secure = await open_ssl_over_tcp_stream("localhost", 443, ssl_context=context)
    print(secure.transport_stream.socket.getpeername())
    await open_tcp_listeners(0, fallback="both")  # type: ignore[arg-type]
    await open_tcp_listeners(0, proxy_from=["10.0.0.1"], device="eth0")
    async with trio.open_nursery() as nursery:
        started: list[trio.SocketListener] = await nursery.start(serve_tcp, echo, 0)
        nursery.start_soon(serve_ssl_over_tcp, echo_over_tls, 0, context)
        print(len(started) + len(listeners))
    with await open_udp_socket() as sock:
        data, sender, info = await sock.receive_datagram()
        source = info.destination if info is not None else None
        sent: int = await sock.send_datagram(data, sender, source=source)
        print(sent + sock.counters.received, sock.mode)
    await stream.aclose()
