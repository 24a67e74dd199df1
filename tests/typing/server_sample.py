"""A program that hands a ready socket to a server, under mypy strict."""

from __future__ import annotations

import asyncio
import ssl
from http.server import BaseHTTPRequestHandler, HTTPServer

from dsadapter.sockets.listening import listening_socket


def serve_http(context: ssl.SSLContext) -> None:
    with listening_socket("::", 8080, backlog=100, fallback="ipv4", reuse_port=True) as sock:
        server = HTTPServer(("", 8080), BaseHTTPRequestHandler, bind_and_activate=False)
        server.socket.close()
        context.sslsocket_class = sock.sslsocket_class
        server.socket = context.wrap_socket(sock, server_side=True)
        server.serve_forever()


async def serve_streams() -> asyncio.Server:
    listening_socket("::", 8080, fallback="none")  # type: ignore[arg-type]
    listening_socket("::", 8080, 100)  # type: ignore[call-arg, arg-type]
    sock = listening_socket("::", 8080)
    return await asyncio.start_server(lambda _reader, writer: writer.close(), sock=sock)


def serve_one() -> None:
    with listening_socket("::", 8080) as sock:
        accepted, (host, port, *_) = sock.accept()
        with accepted:
            print(host, port, accepted.getpeername())
