"""One client of the connect benchmark: ``python -I connect_client.py NAME``.

Answers each line of its standard input, a JSON object with host, port and addresses. The host, if
it is a name, is resolved to the addresses, in their order, without asking anybody; a ``{}`` in it
makes it another name for every connection, of which nobody can remember anything.

``"seconds": S``
    the median of the milliseconds from the call to the first byte, over connections that are made
    one after the other for that long, at least one
``"at_once": N``
    so many connections at once: ``{"seconds", "failed", "leaked"}``, the CPU time, how many did not
    get their byte, and how many more descriptors are open when all have ended
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from itertools import count
from statistics import median
from time import perf_counter, process_time
from typing import Any

Connect = Callable[[], Awaitable[float]]
"""Connects, ends the connection after its first byte, and returns when that came."""
Subject = Callable[[str, int], Awaitable[float]]
"""Likewise, to a host and port."""
Together = Callable[[list[Coroutine[Any, Any, None]]], Awaitable[Any]]
"""Runs coroutines at once until all have ended."""
DELAY = 0.25

addresses: list[str] = []
"""What a name means now."""
numbers = count()


async def answer(subject: Subject, together: Together) -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        addresses[:] = asked["addresses"]
        gc.collect()
        connect = partial(connect_anew, subject, asked["host"], asked["port"])
        if "at_once" in asked:
            print(json.dumps(await at_once(connect, asked["at_once"], together)), flush=True)
        else:
            print(await one_by_one(connect, asked["seconds"]), flush=True)


def connect_anew(subject: Subject, host: str, port: int) -> Awaitable[float]:
    return subject(host.format(next(numbers)), port)


async def one_by_one(connect: Connect, seconds: float) -> float:
    figures: list[float] = []
    end = perf_counter() + seconds
    while not figures or perf_counter() < end:
        start = perf_counter()
        figures.append(await connect() - start)
    return median(figures) * 1e3


async def at_once(connect: Connect, number: int, together: Together) -> dict[str, float]:
    failed = 0

    async def one() -> None:
        nonlocal failed
        try:
            came = await connect()
        except Exception:
            came = 0
        failed += not came

    before = len(os.listdir("/dev/fd"))
    start = process_time()
    await together([one() for _ in range(number)])
    seconds = process_time() - start
    gc.collect()
    return {
        "seconds": seconds,
        "failed": failed,
        "leaked": len(os.listdir("/dev/fd")) - before,
    }


def with_twisted(name: str) -> None:
    from twisted.internet import endpoints, protocol
    from twisted.internet import reactor as installed
    from twisted.internet.address import IPv4Address, IPv6Address
    from twisted.internet.defer import Deferred, DeferredList
    from twisted.internet.interfaces import IHostnameResolver, IHostResolution
    from zope.interface import implementer

    from dsadapter.frameworks.twisted import DualStackClientEndpoint

    reactor: Any = installed

    @implementer(IHostResolution)
    class Resolution:
        def __init__(self, name: str) -> None:
            self.name = name

        def cancel(self) -> None: ...

    @implementer(IHostnameResolver)
    class Resolver:
        def resolveHostName(
            self,
            resolutionReceiver: Any,
            hostName: str,
            portNumber: int = 0,
            addressTypes: Any = None,
            transportSemantics: str = "TCP",
        ) -> Any:
            resolution = Resolution(hostName)
            resolutionReceiver.resolutionBegan(resolution)
            for host in addresses:
                kind = IPv6Address if ":" in host else IPv4Address
                resolutionReceiver.addressResolved(kind("TCP", host, portNumber))
            resolutionReceiver.resolutionComplete()
            return resolution

    class FirstByte(protocol.Protocol):
        came = 0.0

        def __init__(self) -> None:
            self.ended: Deferred[float] = Deferred()

        def dataReceived(self, data: bytes) -> None:
            self.came = perf_counter()
            self.transport.loseConnection()  # type: ignore[union-attr]

        def connectionLost(self, reason: Any = None) -> None:
            self.ended.callback(self.came)

    factory = protocol.Factory.forProtocol(FirstByte)
    factory.noisy = False

    async def dualstack(host: str, port: int) -> float:
        connected: Any = await DualStackClientEndpoint(reactor, host, port).connect(factory)
        ended: float = await connected.ended
        return ended

    async def hostname(host: str, port: int) -> float:
        connected: Any = await endpoints.HostnameEndpoint(reactor, host, port).connect(factory)
        ended: float = await connected.ended
        return ended

    def together(coroutines: list[Any]) -> Deferred[Any]:
        return DeferredList([Deferred.fromCoroutine(each) for each in coroutines])

    def begin() -> None:
        subjects = {"dualstack": dualstack, "hostname": hostname}
        done = Deferred.fromCoroutine(answer(subjects[name], together))
        done.addErrback(lambda failure: failure.printTraceback(sys.stderr))
        done.addBoth(lambda _: reactor.stop())

    reactor.installNameResolver(Resolver())
    reactor.callWhenRunning(begin)
    reactor.run()


class FirstByte(asyncio.Protocol):
    came = 0.0

    def __init__(self) -> None:
        self.ended: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.came = perf_counter()
        self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set_result(self.came)


class Loop(asyncio.SelectorEventLoop):
    async def getaddrinfo(self, host: Any, port: Any, **_options: Any) -> Any:
        return address_infos(port)


async def asyncio_connects(host: str, port: int) -> float:
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(FirstByte, host, port, happy_eyeballs_delay=DELAY)
    return await protocol.ended


async def aiohappyeyeballs_connects(host: str, port: int) -> float:
    from aiohappyeyeballs import start_connection

    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    sock = await start_connection(found, happy_eyeballs_delay=DELAY)
    _, protocol = await loop.create_connection(FirstByte, sock=sock)
    return await protocol.ended


async def gather(coroutines: list[Any]) -> None:
    await asyncio.gather(*coroutines)


def with_asyncio(name: str) -> None:
    subjects = {"asyncio": asyncio_connects, "aiohappyeyeballs": aiohappyeyeballs_connects}
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(answer(subjects[name], gather))


def with_trio(_name: str) -> None:
    import trio

    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, _host: Any, port: Any, *_options: Any) -> Any:
            return address_infos(port)

        async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
            raise NotImplementedError

    async def connect(host: str, port: int) -> float:
        stream = await trio.open_tcp_stream(host, port, happy_eyeballs_delay=DELAY)
        await stream.receive_some(1)
        came = perf_counter()
        await stream.aclose()
        return came

    async def together(coroutines: list[Any]) -> None:
        async with trio.open_nursery() as nursery:
            for each in coroutines:
                nursery.start_soon(lambda coroutine: coroutine, each)

    async def begin() -> None:
        trio.socket.set_custom_hostname_resolver(Resolver())
        await answer(connect, together)

    trio.run(begin)


def address_infos(port: int) -> list[tuple[Any, ...]]:
    """The addresses as ``socket.getaddrinfo`` gives them."""
    return [
        (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)
        for family, address in (
            (socket.AF_INET6, (host, port, 0, 0)) if ":" in host else (socket.AF_INET, (host, port))
            for host in addresses
        )
    ]


CLIENTS = {
    "dualstack": with_twisted,
    "hostname": with_twisted,
    "asyncio": with_asyncio,
    "aiohappyeyeballs": with_asyncio,
    "trio": with_trio,
}

if __name__ == "__main__":
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    CLIENTS[sys.argv[1]](sys.argv[1])
