"""Programs on asyncio as their authors type them, under mypy strict; what is ignored has to be
wrong."""

from __future__ import annotations

import asyncio
import ssl

from dsadapter.frameworks.asyncio import (
    DualStackDatagramTransport,
    DualStackServer,
    create_connection,
    create_datagram_endpoint,
    create_server,
    open_connection,
    start_server,
)
from dsadapter.packetinfo import PacketInfo


class Echo(asyncio.Protocol):
    def __init__(self, name: str) -> None:
        self.name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        host, port, *_ = transport.get_extra_info("peername")
        print(self.name, host, port)


class Answering(asyncio.DatagramProtocol):
    """Answers from another address than the one that was asked."""

    transport: DualStackDatagramTransport

    def packet_received(self, data: bytes, addr: tuple[str, int], info: PacketInfo | None) -> None:
        if info is not None:
            self.transport.sendto(
                data, addr, source=info.destination, interface=info.interface_name
            )
        self.transport.sendto(data, addr, sender="192.0.2.1")  # type: ignore[call-arg]
        self.transport.sendto(data, addr, source=b"127.0.0.1")  # type: ignore[arg-type]


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readline())
    writer.close()


async def serve(context: ssl.SSLContext) -> None:
    server: DualStackServer = await start_server(handle, None, 8080, mode="pair")
    async with await create_server(
        lambda: Echo("tls"), ["127.0.0.1", "::1"], 8443, ssl=context, proxy_from=["192.0.2.1"]
    ) as secure:
        for sock in (*server.sockets, *secure.sockets):
            print(sock.getsockname(), server.mode)
        await secure.serve_forever()
    await create_server(lambda: Echo("x"), None, 80, fallback="none")  # type: ignore[arg-type]
    await create_server(lambda: Echo("x"), None, 80, mode="dual")  # type: ignore[arg-type]
    await create_server(object, None, 80)  # type: ignore[arg-type]


async def connect() -> bytes:
    transport, protocol = await create_connection(
        lambda: Echo("client"), "www.example.org", 80, happy_eyeballs_delay=0.1
    )
    name: str = protocol.name
    number: int = protocol.name  # type: ignore[assignment]
    print(transport.is_closing(), name, number)
    reader, writer = await open_connection("::1", 80, mapped_addresses="refuse")
    writer.write("text")  # type: ignore[arg-type]
    return await reader.readline()


async def exchange() -> int:
    transport, protocol = await create_datagram_endpoint(Answering, ("::", 53), family=0)
    protocol.transport = transport
    await create_datagram_endpoint(Answering, "::", 53)  # type: ignore[arg-type]
    received: int = transport.counters.received
    return received
