"""asyncio, on a loop of any kind, by way of ``dsadapter.frameworks.asyncio``."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import threading
from collections.abc import Coroutine
from typing import Any

from support.loops import LOOPS

from dsadapter.frameworks import asyncio as dual_stack
from dsadapter.packetinfo import PacketInfo
from dsadapter.testing import Driver, Report

from .groups import membership


def names(transport: Any) -> dict[str, Any]:
    sock = transport.get_extra_info("socket")
    return {
        "peer": transport.get_extra_info("peername"),
        "local": transport.get_extra_info("sockname"),
        "handle_peer": sock.getpeername,
        "handle_local": sock.getsockname,
        "texts": [repr(sock), repr(transport)],
    }


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, report: Report) -> None:
        self.report = report

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if transport.get_extra_info("peername") is not None:
            self.report(peer=transport.get_extra_info("peername"))

    def packet_received(self, data: bytes, addr: Any, info: PacketInfo) -> None:
        self.report(source=addr, destination=info.destination, interface=info.interface_name)
        self.transport.sendto(data, addr)


class AsyncioDriver(Driver):
    """A loop in a thread."""

    loop_kind = "asyncio"

    def __init__(self) -> None:
        self.servers: list[Any] = []
        self.transports: list[Any] = []
        started = threading.Event()

        async def main() -> None:
            self.loop = asyncio.get_running_loop()
            started.set()
            await asyncio.Event().wait()

        threading.Thread(target=LOOPS[self.loop_kind], args=(main,), daemon=True).start()
        started.wait()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

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
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            report(accepted=writer.get_extra_info("peername"), **names(writer.transport))
            try:
                while data := await reader.read(1000):
                    writer.write(data)
            except OSError:
                pass
            writer.close()

        options: dict[str, Any] = {}
        if tls is not None:
            options["ssl"] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            options["ssl"].load_cert_chain(tls)
        if proxy:
            options["proxy_from"] = ["127.0.0.1"]
        if descriptor is None:
            options |= {"host": host, "port": port}
        else:
            options["sock"] = socket.socket(fileno=descriptor)
        server = self.run(dual_stack.start_server(echo, **options))
        self.servers.append(server)
        return [sock.getsockname() for sock in server.sockets]

    def connect(self, host: str, port: int, report: Report, *, source: str | None = None) -> None:
        async def request() -> None:
            local_addr = None if source is None else (source, 0)
            reader, writer = await dual_stack.open_connection(host, port, local_addr=local_addr)
            report(**names(writer.transport))
            writer.write(b"request")
            await reader.readexactly(7)
            writer.close()
            await writer.wait_closed()

        self.run(request())

    def bind(
        self, host: str, port: int, report: Report, *, peer: tuple[str, int] | None = None
    ) -> Any:
        local_addr = None if peer is not None and host == "::" else (host, port)
        transport, _ = self.run(
            dual_stack.create_datagram_endpoint(
                lambda: Datagrams(report), local_addr=local_addr, remote_addr=peer
            )
        )
        self.transports.append(transport)
        return transport.get_extra_info("sockname")

    def send(
        self, data: bytes, address: tuple[str, int] | None, *, source: str | None = None
    ) -> None:
        async def send() -> None:
            self.transports[-1].sendto(data, address, source=source)

        self.run(send())

    def join(self, group: str, interface: str) -> None:
        self.transports[-1].get_extra_info("socket").setsockopt(*membership(group, interface))

    def close(self) -> None:
        async def close() -> None:
            for transport in self.transports:
                transport.close()
            for server in self.servers:
                server.close()
                if sys.version_info >= (3, 13):
                    server.close_clients()
                await server.wait_closed()
            self.transports, self.servers = [], []

        self.run(close())


class SelectorDriver(AsyncioDriver):
    loop_kind = "selector"


class UvloopDriver(AsyncioDriver):
    loop_kind = "uvloop"


class ThirdLoopDriver(AsyncioDriver):
    loop_kind = "third"
