"""Programs on the standard library as their authors type them, under mypy strict; what is ignored
has to be wrong."""

from __future__ import annotations

import socket
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, ThreadingUDPServer

from dsadapter.frameworks.blocking import (
    DualStackMixin,
    TranslatingSocket,
    create_connection,
    create_server,
)
from dsadapter.policy import ListenMode


class Server(DualStackMixin, ThreadingHTTPServer):
    fallback = "ipv4"


class Undecided(DualStackMixin, ThreadingHTTPServer):
    fallback = "none"  # type: ignore[assignment]


class Datagrams(DualStackMixin, ThreadingUDPServer):
    pass


class Names(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        host: str = self.client_address[0]
        self.wfile.write(host.encode())


class Answer(BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        sock.sendto(data, self.client_address)


def serve(context: ssl.SSLContext) -> None:
    with Datagrams(("", 53), Answer) as datagrams, Server(("", 8443), Names) as server:
        context.sslsocket_class = server.socket.sslsocket_class
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.serve_forever(poll_interval=0.1)
        datagrams.shutdown()


def listen() -> ListenMode:
    create_server(("::", 80), fallback="none")  # type: ignore[arg-type]
    create_server(("::", 80), 5)  # type: ignore[call-arg]
    create_server(("::", 80), proxy_from=10)  # type: ignore[arg-type]
    create_server(("::", 80), proxy_from=["10.0.0.1"], proxy_timeout=2.5, device="eth0").close()
    with create_server(("", 8080), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        accepted, (host, port, *_) = server.accept()
        with accepted:
            print(host, port, accepted.getpeername())
        plain: socket.socket = server
        print(plain)
        return server.mode


def connect() -> bytes:
    create_connection("::1", 80)  # type: ignore[arg-type]
    with create_connection(("::1", 80), 5, ("::1", 0), attempt_delay=0.1) as connection:
        made: TranslatingSocket = connection
        return made.recv(100)


def exchange() -> tuple[str, int]:
    with TranslatingSocket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("::", 53))
        data, sender = sock.recvfrom(512)
        sock.sendto(data, sender)
        data, sender, info = sock.receive_datagram(512)
        sock.send_datagram(data, sender, source=info.destination if info else None)
        print(sock.counters.forged)
        host, port = sender[:2]
        return host, port
