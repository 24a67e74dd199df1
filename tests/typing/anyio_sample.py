"""An AnyIO application as its author types it, under mypy strict; ignored is what is wrong."""

from __future__ import annotations

import ssl
from ipaddress import IPv6Address

from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.stapled import MultiListener
from anyio.streams.tls import TLSStream

from dsadapter.frameworks.anyio import (
    connect_tcp,
    create_connected_udp_socket,
    create_tcp_listener,
    create_udp_socket,
)


async def echo(stream: SocketStream) -> None:
    async for data in stream:
        await stream.send(data)


async def main(context: ssl.SSLContext) -> None:
    listener: MultiListener[SocketStream] = await create_tcp_listener(fallback="ipv4")
    plain: SocketStream = await connect_tcp("localhost", 80, local_host=IPv6Address("::1"))
    secure: TLSStream = await connect_tcp("localhost", 443, ssl_context=context)
    print(plain.extra(SocketAttribute.remote_address), secure.extra(SocketAttribute.remote_port))
    await create_tcp_listener(fallback="both")  # type: ignore[arg-type]
    await create_tcp_listener(proxy_from=["10.0.0.1"], proxy_timeout=1, device="eth0")
    async with await create_udp_socket(local_port=8053) as sock:
        data, sender, info = await sock.receive_datagram()
        source = info.destination if info is not None else None
        await sock.send_datagram(data, sender, source=source)
        print(sock.counters.received + 1, sock.mode)
    async with await create_connected_udp_socket("localhost", 8053) as connected:
        await connected.send(b"question")
        answer: bytes = await connected.receive()
        print(answer)
    await listener.serve(echo)
