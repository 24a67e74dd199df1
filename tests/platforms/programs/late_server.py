"""Serves clients that have come, and perhaps gone, before it accepts: ``late_server.py KIND``.

It tells its port, and accepts after a line of its standard input, with which it ends. Each
connection is told by its names, as the program of a user sees them.
"""

from __future__ import annotations

import asyncio
import json
import os
import socketserver
import sys
import threading
from contextlib import suppress
from typing import Any


def tell(**what: Any) -> None:
    # In one piece, because threads tell, too.
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def come_late(port: int) -> None:
    tell(port=port)
    sys.stdin.readline()
    threading.Thread(target=end_with_input, daemon=True).start()


def end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


def with_twisted(kind: str) -> None:
    if kind == "iocp":
        from twisted.internet import iocpreactor as chosen
    else:
        from twisted.internet import selectreactor as chosen
    chosen.install()
    from twisted.internet import reactor
    from twisted.internet.endpoints import serverFromString
    from twisted.internet.protocol import Factory, Protocol
    from twisted.python import log

    class Answering(Protocol):
        def connectionMade(self) -> None:
            peer, own = self.transport.getPeer(), self.transport.getHost()
            tell(peer=[peer.host, peer.port], own=own.host)

        def dataReceived(self, data: bytes) -> None:
            self.transport.write(b"answer")
            self.transport.loseConnection()

    log.startLogging(sys.stdout, setStdout=False)

    def listening(port: Any) -> None:
        come_late(port.getHost().port)

    endpoint = serverFromString(reactor, "dualstack:0")
    endpoint.listen(Factory.forProtocol(Answering)).addCallback(listening).addErrback(log.err)
    reactor.run()


async def with_asyncio(start_server: Any) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer, own = (writer.get_extra_info(name) for name in ("peername", "sockname"))
        names = writer.get_extra_info("socket")
        tell(peer=list(peer), own=own[0])
        # It may have gone.
        with suppress(OSError):
            tell(peer=list(names.getpeername()), own=names.getsockname()[0])
        try:
            await reader.read(100)
            writer.write(b"answer")
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except OSError:
            writer.close()

    server = await start_server(serve, "::", 0)
    come_late(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        tell(peer=list(self.client_address), own=self.request.getsockname()[0])
        with suppress(OSError):
            self.request.recv(100)
            self.request.sendall(b"answer")


def with_socketserver(kind: str) -> None:
    if kind == "socketserver":
        from dsadapter.frameworks.blocking import DualStackMixin

        class Server(DualStackMixin, socketserver.ThreadingTCPServer):
            request_queue_size = 100

        server: Any = Server(("", 0), Handler)
    else:

        class Plain(socketserver.ThreadingTCPServer):
            address_family = 23
            request_queue_size = 100

        server = Plain(("::", 0), Handler)
    come_late(server.server_address[1])
    server.serve_forever()


def main(kind: str) -> None:
    if kind in ("select", "iocp"):
        with_twisted(kind)
    elif "socketserver" in kind:
        with_socketserver(kind)
    elif kind == "launched asyncio":
        asyncio.run(with_asyncio(asyncio.start_server))
    else:
        from dsadapter.frameworks import asyncio as dual_stack

        loop = asyncio.SelectorEventLoop if kind == "selector" else None
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(with_asyncio(dual_stack.start_server))


main(sys.argv[1])
