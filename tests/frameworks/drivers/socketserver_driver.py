"""The servers of the ``socketserver`` family, by way of ``DualStackMixin``; the rest is plain
sockets."""

from __future__ import annotations

import contextlib
import ssl
import sys
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from threading import Thread
from typing import Any

from dsadapter.frameworks.blocking import DualStackMixin
from dsadapter.testing import Report

from .blocking_driver import BlockingDriver


class EchoHandler(BaseHTTPRequestHandler):
    """Answers with what comes, and logs as every HTTP handler does."""

    server: Any

    def handle(self) -> None:
        report = self.server.report
        sock = self.request
        report(
            accepted=self.client_address,
            peer=sock.getpeername,
            local=sock.getsockname,
            handle_peer=self.connection.getpeername,
            handle_local=self.connection.getsockname,
            texts=[repr(sock), self.address_string()],
        )
        self.log_message("a request")
        with contextlib.suppress(OSError):
            while data := sock.recv(1000):
                sock.sendall(data)

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()


class Server(DualStackMixin, ThreadingMixIn, TCPServer):
    report: Report


class SocketserverDriver(BlockingDriver):
    kind: Any = Server

    def __init__(self) -> None:
        super().__init__()
        self.servers: list[Any] = []

    def listen(
        self,
        host: str,
        port: int,
        report: Report,
        *,
        tls: str | None = None,
        descriptor: int | None = None,
        proxy: bool = False,
    ) -> Any:
        if descriptor is not None:
            return super().listen(host, port, report, tls=tls, descriptor=descriptor)
        kind: Any = type("Server", (self.kind,), {"proxy_from": ["127.0.0.1"] if proxy else None})
        server = kind((host, port), EchoHandler)
        server.report = report
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.sslsocket_class = server.socket.sslsocket_class
            context.load_cert_chain(tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        self.servers.append(server)
        self.threads.append(Thread(target=server.serve_forever, args=(0.01,)))
        self.threads[-1].start()
        return [server.socket.getsockname()]

    def close(self) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()
        self.servers = []
        super().close()


if sys.platform != "win32":
    from socketserver import ForkingMixIn

    class ForkingServer(DualStackMixin, ForkingMixIn, TCPServer):
        report: Report

    class ForkingDriver(SocketserverDriver):
        kind = ForkingServer
