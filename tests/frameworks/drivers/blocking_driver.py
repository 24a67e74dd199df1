"""The standard library's sockets, by way of ``dsadapter.frameworks.blocking``."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from functools import partial
from threading import Thread
from typing import Any

from dsadapter.addressing import unmap
from dsadapter.frameworks.blocking import TranslatingSocket, create_connection, create_server
from dsadapter.testing import Driver, Report


class BlockingDriver(Driver):
    """A thread for each socket."""

    def __init__(self) -> None:
        self.sockets: list[Any] = []
        self.threads: list[Thread] = []
        self.closing = False

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
        if descriptor is None:
            server = create_server((host, port))
        else:
            server = TranslatingSocket(fileno=descriptor)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.sslsocket_class = server.sslsocket_class
            context.load_cert_chain(tls)
            server = context.wrap_socket(server, server_side=True)  # type: ignore[assignment]
        self.run(self.accept, server, report)
        return [server.getsockname()]

    def connect(self, host: str, port: int, report: Report, *, source: str | None = None) -> None:
        source_address = None if source is None else (source, 0)
        with create_connection((host, port), 20, source_address) as connection:
            report(**self.names(connection))
            connection.sendall(b"request")
            connection.recv(7, socket.MSG_WAITALL)

    def bind(
        self, host: str, port: int, report: Report, *, peer: tuple[str, int] | None = None
    ) -> Any:
        sock: Any = TranslatingSocket(type=socket.SOCK_DGRAM)
        sock.bind((host, port))
        if peer is not None:
            sock.connect(peer)
            report(peer=sock.getpeername)
        sock.settimeout(0.05)
        self.run(self.answer, sock, report)
        return sock.getsockname()

    def send(
        self, data: bytes, address: tuple[str, int] | None, *, source: str | None = None
    ) -> None:
        if address is None:
            self.sockets[-1].send(data)
        else:
            self.sockets[-1].send_datagram(data, address, source)

    def join(self, group: str, interface: str) -> None:
        # The socket module has no call of its own for groups.
        plain, index = unmap(group), socket.if_nametoindex(interface)
        if ":" in plain:
            level, option = socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP
            value = socket.inet_pton(socket.AF_INET6, plain) + struct.pack("=I", index)
        else:
            level, option = socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP
            value = socket.inet_aton(plain) + bytes(4) + struct.pack("=I", index)
        self.sockets[-1].setsockopt(level, option, value)

    def close(self) -> None:
        self.closing = True
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        for sock in self.sockets:
            sock.close()
        self.sockets, self.threads, self.closing = [], [], False

    def names(self, connection: Any) -> dict[str, Any]:
        return {
            "peer": connection.getpeername,
            "local": connection.getsockname,
            "handle_peer": connection.getpeername,
            "handle_local": connection.getsockname,
            "texts": repr(connection),
        }

    def run(self, function: Any, sock: Any, report: Report) -> None:
        self.sockets.append(sock)
        self.threads.append(Thread(target=function, args=(sock, report)))
        self.threads[-1].start()

    def accept(self, server: Any, report: Report) -> None:
        while True:
            try:
                connection, peer = server.accept()
            except OSError:
                return
            self.run(partial(self.echo, peer), connection, report)

    def echo(self, peer: Any, connection: Any, report: Report) -> None:
        report(accepted=peer, **self.names(connection))
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(1000):
                connection.sendall(data)

    def answer(self, sock: Any, report: Report) -> None:
        while not self.closing:
            with contextlib.suppress(TimeoutError):
                data, sender, info = sock.receive_datagram(1000)
                report(source=sender, destination=info.destination, interface=info.interface_name)
                sock.sendto(data, sender)
