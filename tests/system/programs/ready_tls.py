"""A server of others with TLS on a ready socket: ``ready_tls.py SERVER PORT CERTIFICATE KEY``."""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from collections.abc import Callable
from typing import Any

from application import asgi, wsgi

from dsadapter.sockets.listening import listening_socket

SERVER, PORT, CERTIFICATE, KEY = sys.argv[1:]


def context_for(sock: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, KEY)
    context.sslsocket_class = sock.sslsocket_class
    return context


def uvicorn(sock: Any) -> None:
    from uvicorn import Config, Server

    files = {"ssl_certfile": CERTIFICATE, "ssl_keyfile": KEY}
    Server(Config(asgi, loop="asyncio", lifespan="off", **files)).run(sockets=[sock])


def hypercorn(sock: Any) -> None:
    from hypercorn.app_wrappers import ASGIWrapper
    from hypercorn.asyncio.run import worker_serve
    from hypercorn.config import Config, Sockets

    config = Config()
    config.accesslog = "-"
    config.certfile, config.keyfile = CERTIFICATE, KEY
    asyncio.run(worker_serve(ASGIWrapper(asgi), config, sockets=Sockets([sock], [], [])))


def aiohttp(sock: Any) -> None:
    from aiohttp import web

    async def hello(request: Any) -> Any:
        return web.Response(text=f"hello {request.remote}\n")

    application = web.Application()
    application.router.add_get("/", hello)
    web.run_app(application, sock=sock, ssl_context=context_for(sock))


def tornado(sock: Any) -> None:
    from tornado.httpserver import HTTPServer
    from tornado.web import Application, RequestHandler

    class Hello(RequestHandler):
        def get(self) -> None:
            self.write(f"hello {self.request.remote_ip}\n")

    async def main() -> None:
        sock.setblocking(False)
        server = HTTPServer(Application([("/", Hello)]), ssl_options=context_for(sock))
        server.add_socket(sock)
        await asyncio.Event().wait()

    asyncio.run(main())


def cheroot(sock: Any) -> None:
    from cheroot.ssl.builtin import BuiltinSSLAdapter
    from cheroot.wsgi import Server

    class ReadyServer(Server):
        ssl_adapter = BuiltinSSLAdapter(CERTIFICATE, KEY)

        def bind(self, *_how: Any) -> Any:
            self.socket = sock
            return sock

    ReadyServer.ssl_adapter.context.sslsocket_class = sock.sslsocket_class
    ReadyServer(("::", int(PORT)), wsgi).safe_start()


def gevent(sock: Any) -> None:
    from gevent.pywsgi import WSGIServer

    sock.setblocking(False)
    WSGIServer(sock, wsgi, keyfile=KEY, certfile=CERTIFICATE).serve_forever()


def werkzeug(sock: Any) -> None:
    from werkzeug.serving import make_server

    server = make_server("::", int(PORT), wsgi, threaded=True, fd=sock.fileno())
    server.socket.close()
    server.ssl_context = context_for(sock)
    server.socket = server.ssl_context.wrap_socket(sock, server_side=True)
    server.serve_forever()


logging.basicConfig(level=logging.INFO)
serve: Callable[[Any], None] = vars()[SERVER]
with listening_socket("::", int(PORT)) as opened:
    serve(opened)
