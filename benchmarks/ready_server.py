"""One server of the benchmarks of ready sockets: ``python -I ready_server.py SERVER SOCKET``.

It answers requests, prints its port, then answers ``cpu`` on its standard input with the CPU
seconds since the process began, and ends with its standard input. SERVER is ``uvicorn``,
``uvicorn-uvloop`` or ``http.server``; SOCKET what it listens on:

``ipv4``
    its own IPv4 socket
``ipv6``
    a plain AF_INET6 socket that serves both families
``ready``
    a ready socket
``observed``
    the same, with a plugin that is told of every connection and does nothing
``covered``
    an IPv6 socket of a process that is covered as by ``dsadapter run``
``mixin``
    what ``DualStackMixin`` opens
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

BACKLOG = 1024
BODY = b"hello\n"


def opened(kind: str) -> socket.socket:
    if kind == "ipv4":
        return socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    if kind == "ipv6":
        family = socket.AF_INET6
        return socket.create_server(("::", 0), family=family, backlog=BACKLOG, dualstack_ipv6=True)
    if kind == "covered":
        from dsadapter.launcher import install

        install()
        sock = socket.socket(socket.AF_INET6)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(("::", 0))
        sock.listen(BACKLOG)
        return sock
    if kind == "observed":
        from dsadapter import hookimpl
        from dsadapter.plugin import get_plugin_manager

        class Observer:
            @hookimpl
            def dsadapter_connection_made(self, connection: Any) -> None: ...

            @hookimpl
            def dsadapter_connection_lost(self, connection: Any) -> None: ...

        get_plugin_manager().register(Observer())
    from dsadapter.sockets.listening import listening_socket

    return listening_socket("::", 0, backlog=BACKLOG)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


def http_server(kind: str) -> None:
    server: HTTPServer
    if kind == "mixin":
        from dsadapter.frameworks.blocking import DualStackMixin

        class Server(DualStackMixin, HTTPServer):
            request_queue_size = BACKLOG

        server = Server(("", 0), Handler)
    else:
        server = HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = opened(kind)
    answering(server.socket)
    server.serve_forever()


def uvicorn(kind: str, loop: str = "asyncio") -> None:
    from uvicorn import Config, Server

    async def application(
        scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]
    ) -> None:
        headers = [(b"content-length", b"%d" % len(BODY))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": BODY})

    options: dict[str, Any] = {"loop": loop, "lifespan": "off", "backlog": BACKLOG}
    config = Config(application, log_level="critical", access_log=False, **options)
    sock = opened(kind)
    answering(sock)
    Server(config).run(sockets=[sock])


def answering(sock: socket.socket) -> None:
    def answer() -> None:
        for _ in sys.stdin:
            print(time.process_time(), flush=True)
        os._exit(0)

    print(sock.getsockname()[1], flush=True)
    threading.Thread(target=answer, daemon=True).start()


if __name__ == "__main__":
    servers = {
        "http.server": http_server,
        "uvicorn": uvicorn,
        "uvicorn-uvloop": partial(uvicorn, loop="uvloop"),
    }
    servers[sys.argv[1]](sys.argv[2])
