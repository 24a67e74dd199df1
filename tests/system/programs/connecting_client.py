"""Connects as it is told to, and tells what came of it: ``connecting_client.py REACTOR RESOLVER``.

RESOLVER is ``system``; ``argument``, which gives the endpoints one of ``twisted.names``; or
``installed``, which makes that the reactor's. Each line of standard input is a JSON object:
``host`` and ``port``, or ``url``; ``count``, how many to have open at once; and options of the
endpoint. One line of standard output answers it.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
from typing import Any

from twisted.application.reactors import installReactor

name, way = sys.argv[1:]
reactor: Any = installReactor(name)

from twisted.internet.defer import Deferred, DeferredList, DeferredQueue, inlineCallbacks  # noqa: E402
from twisted.internet.protocol import Factory, Protocol  # noqa: E402
from twisted.internet.stdio import StandardIO  # noqa: E402
from twisted.internet.task import deferLater  # noqa: E402
from twisted.names.client import createResolver  # noqa: E402
from twisted.protocols.basic import LineReceiver  # noqa: E402
from twisted.python.failure import Failure  # noqa: E402
from twisted.web.client import Agent, HTTPConnectionPool, readBody  # noqa: E402

from dsadapter import hookimpl  # noqa: E402
from dsadapter.frameworks.twisted import (  # noqa: E402
    DualStackAgentEndpointFactory,
    DualStackClientEndpoint,
)
from dsadapter.plugin import get_plugin_manager  # noqa: E402

resolving = {"resolver": createResolver()} if way == "argument" else {}
tried: list[str] = []
requests: Any = DeferredQueue()


class Tried:
    @hookimpl
    def dsadapter_before_connect(self, attempt: Any) -> None:
        tried.append(attempt.destination[0])


class Client(Protocol):
    """Asks for a page, and holds the connection for as long as it is told to."""

    def __init__(self) -> None:
        self.page: Deferred[str] = Deferred()
        self.closed: Deferred[None] = Deferred()
        self.received = b""

    def connectionMade(self) -> None:
        self.transport.write(b"GET / HTTP/1.1\r\nHost: name.example\r\n\r\n")

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        head, _, body = self.received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if length and len(body) == int(length[1]):
            self.page.callback(body.decode())

    def connectionLost(self, reason: Any = None) -> None:
        self.closed.callback(None)


class Commands(LineReceiver):
    delimiter = b"\n"

    def lineReceived(self, line: bytes) -> None:
        requests.put(json.loads(line))

    def connectionLost(self, reason: Any = None) -> None:
        reactor.stop()


def descriptors() -> int:
    try:
        # All but the one for the listing.
        return len(os.listdir("/proc/self/fd")) - 1
    except OSError:
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def failed(failure: Failure) -> dict[str, Any]:
    error: Any = failure.value
    return {
        "error": [kind.__name__ for kind in type(error).__mro__],
        "text": str(error),
        "failed": [attempt.address[0] for attempt in getattr(error, "attempts", ())],
    }


@inlineCallbacks
def connect(host: str, port: int, count: int = 1, **options: Any) -> Any:
    endpoint = DualStackClientEndpoint(reactor, host, port, **resolving, **options)
    factory = Factory.forProtocol(Client)
    factory.noisy = False
    outcomes = yield DeferredList(
        [endpoint.connect(factory) for _ in range(count)], consumeErrors=True
    )
    clients = [outcome for succeeded, outcome in outcomes if succeeded]
    failures = [outcome for succeeded, outcome in outcomes if not succeeded]
    if failures:
        answer = {"failures": len(failures), **failed(failures[0])}
    else:
        pages = yield DeferredList([client.page for client in clients])
        peers = {(type(p).__name__, p.host) for p in (c.transport.getPeer() for c in clients)}
        [[kind, peer]] = peers
        answer = {"kind": kind, "peer": peer, "pages": sorted({page for _, page in pages})}
    answer["descriptors"] = descriptors()
    for client in clients:
        client.transport.abortConnection()
        yield client.closed
    return answer


@inlineCallbacks
def fetch(url: str, **options: Any) -> Any:
    factory = DualStackAgentEndpointFactory(reactor, **resolving, **options)
    pool = HTTPConnectionPool(reactor)
    agent = Agent.usingEndpointFactory(reactor, factory, pool)
    response = yield agent.request(b"GET", url.encode())
    body = yield readBody(response)
    yield pool.closeCachedConnections()
    return {"pages": [body.decode().strip()]}


@inlineCallbacks
def leaked(before: int) -> Any:
    """How many descriptors stay open; ``twisted.names`` closes its own a moment later."""
    for _ in range(100):
        if descriptors() <= before:
            return 0
        yield deferLater(reactor, 0.02)
    return descriptors() - before


@inlineCallbacks
def serve_requests() -> Any:
    # What resolving opens for good: a pool of threads, and a port.
    yield connect("missing.example", 1).addErrback(lambda _: None)
    while True:
        request = yield requests.get()
        tried.clear()
        before = descriptors()
        doing = fetch if "url" in request else connect
        answer = yield doing(**request).addErrback(failed)
        answer["tried"] = list(dict.fromkeys(tried))
        answer["attempts"] = len(tried)
        answer["leaked"] = yield leaked(before)
        print(json.dumps(answer), flush=True)


get_plugin_manager().register(Tried(), "tried")
if way == "installed":
    reactor.installResolver(createResolver())
StandardIO(Commands())
reactor.callWhenRunning(lambda: serve_requests().addErrback(lambda f: f.printTraceback()))
reactor.run()
