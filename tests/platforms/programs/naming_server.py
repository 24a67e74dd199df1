"""A server that tells each client its name: ``naming_server.py REACTOR``.

REACTOR is ``iocp`` of Twisted, or ``proactor`` of asyncio; with ``-proxied`` it expects a PROXY
header. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import sys
import threading
from typing import Any


def tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


async def serve(options: dict[str, Any]) -> None:
    from dsadapter.frameworks.asyncio import start_server

    async def named(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(writer.get_extra_info("peername")[0].encode())
        writer.close()

    server = await start_server(named, "::", 0, **options)
    tell(port=server.sockets[0].getsockname()[1])
    await asyncio.to_thread(sys.stdin.read)
    server.close()


def react(options: dict[str, Any]) -> None:
    importlib.import_module("twisted.internet.iocpreactor").install()
    from twisted.internet import reactor
    from twisted.internet.protocol import Factory, Protocol
    from twisted.python import log

    from dsadapter.frameworks.twisted import DualStackServerEndpoint

    class Naming(Protocol):
        def connectionMade(self) -> None:
            self.transport.write(self.transport.getPeer().host.encode())
            self.transport.loseConnection()

    running: Any = reactor
    log.startLogging(sys.stdout, setStdout=False)
    listening = DualStackServerEndpoint(running, 0, **options).listen(Factory.forProtocol(Naming))
    listening.addCallbacks(lambda port: tell(port=port.getHost().port), log.err)

    def end_with_input() -> None:
        sys.stdin.read()
        running.callFromThread(running.stop)

    threading.Thread(target=end_with_input, daemon=True).start()
    running.run()


name, _, proxied = sys.argv[1].partition("-")
if name == "proactor":
    logging.basicConfig(stream=sys.stdout)
    asyncio.run(serve({"proxy_from": ["127.0.0.1", "::1"]} if proxied else {}))
else:
    react({"proxyFrom": ["127.0.0.1", "::1"]} if proxied else {})
