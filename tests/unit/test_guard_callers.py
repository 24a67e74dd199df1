"""Whose line a leak is."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from asyncio import selector_events
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure

from dsadapter import guard
from dsadapter.guard.callers import caller_of
from dsadapter.records import Leak

MAPPED = ("::ffff:127.0.0.1", 9)


def here() -> Any:
    return sys._getframe(1)


def test_the_line_of_the_program() -> None:
    caller = caller_of(here())
    assert caller.file == __file__
    assert caller.function == "test_the_line_of_the_program"


def leak() -> None:
    with socket.socket() as sock:
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.connect(MAPPED)


@pytest.fixture
def seen() -> Iterator[list[Leak]]:
    """Nothing is connected to: the tests end before that, or forgive it."""
    guard.install("log")
    with guard.recorded() as leaks:
        yield leaks
    guard.uninstall()


def places(leaks: list[Leak]) -> list[tuple[str, str]]:
    return [(leak.file, leak.function) for leak in leaks]


class Closed(asyncio.Protocol):
    """A protocol that leaks when it is connected."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        leak()
        transport.close()


class TestAsyncio:
    @pytest.mark.not_on_windows("Proactor sends without Python's sockets")
    def test_a_coroutine_that_leaks_by_a_function_of_the_loops(self, seen: list[Leak]) -> None:
        async def program() -> None:
            with socket.socket(type=socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_sendto(sock, b"x", MAPPED)

        asyncio.run(program())
        assert places(seen) == [(__file__, program.__qualname__)]

    def test_a_server_on_a_mapped_address(self, seen: list[Leak]) -> None:
        async def program() -> None:
            # asyncio makes each of its AF_INET6 sockets a v6-only one.
            loop = asyncio.get_running_loop()
            with contextlib.suppress(OSError):
                await loop.create_server(Closed, MAPPED[0], 0)

        asyncio.run(program())
        assert [(leak.operation, leak.mode) for leak in seen] == [("bind", "an IPv6-only socket")]
        assert places(seen) == [(__file__, program.__qualname__)]

    @pytest.mark.not_on_windows("Proactor sends without Python's sockets")
    def test_a_callback_that_has_no_frame_is_named_and_not_who_runs_the_loop(
        self, seen: list[Leak]
    ) -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)

            async def program() -> None:
                loop = asyncio.get_running_loop()
                loop.call_soon(partial(sock.connect, MAPPED))
                loop.call_soon(leak)
                await loop.create_task(loop.sock_sendto(sock, b"x", MAPPED))

            asyncio.run(program())
        assert places(seen)[:2] == [("", "socket.connect"), (__file__, "leak")]
        file, function = places(seen)[2]
        assert file == selector_events.__file__
        assert function == "BaseSelectorEventLoop.sock_sendto"

    def test_what_a_thread_looks_up(self, seen: list[Leak]) -> None:
        async def program() -> None:
            loop = asyncio.get_running_loop()
            with contextlib.suppress(OSError):
                await loop.getaddrinfo(MAPPED[0], 9, family=socket.AF_INET)

        asyncio.run(program())
        assert [(leak.operation, leak.function) for leak in seen] == [
            ("getaddrinfo", "getaddrinfo")
        ]


def end(reactor: Any, port: Any) -> None:
    """Close what a test has opened, without running the reactor."""
    port.stopListening()
    for selectable in reactor.removeAll():
        selectable.connectionLost(Failure(ConnectionDone()))
    reactor.runUntilCurrent()


class TestTwisted:
    def test_a_call_by_way_of_twisted(self, seen: list[Leak]) -> None:
        with socket.socket() as sock:
            connecting: Deferred[Any] = Deferred()
            connecting.addCallback(sock.connect_ex)
            connecting.callback(MAPPED)
        assert places(seen) == [(__file__, "TestTwisted.test_a_call_by_way_of_twisted")]

    def test_a_callback_that_has_no_frame(self, seen: list[Leak]) -> None:
        reactor: ReactorBase = SelectReactor()
        with socket.socket() as sock:
            reactor.callLater(0, sock.connect, MAPPED)
            reactor.callLater(0, leak)
            reactor.callFromThread(sock.connect, MAPPED)
            reactor.runUntilCurrent()
        assert places(seen) == [("", "socket.connect")] * 2 + [(__file__, "leak")]

    @pytest.mark.not_on_windows("Twisted's own ports on :: are IPv6-only there")
    def test_the_numbers_that_it_asks_for_are_no_lookup(self, seen: list[Leak]) -> None:
        reactor: Any = SelectReactor()
        peers: list[str] = []

        class Greeted(Protocol):
            def connectionMade(self) -> None:
                peers.append(self.transport.getPeer().host)

        port = reactor.listenTCP(0, ClientFactory.forProtocol(Greeted), interface="::")
        with socket.create_connection(("127.0.0.1", port.getHost().port)):
            reactor.doIteration(10)
        # It has arrived, which has no event.
        assert peers == [MAPPED[0]]
        assert seen == []
        end(reactor, port)

    def test_what_a_protocol_does_and_what_is_done_for_it(self, seen: list[Leak]) -> None:
        class Leaking(Protocol):
            def connectionMade(self) -> None:
                leak()
                # As Twisted itself might, in reading.
                self.transport.doRead = partial(self.transport.socket.connect, MAPPED)

        reactor: Any = SelectReactor()
        port = reactor.listenTCP(0, ClientFactory.forProtocol(Leaking), interface="127.0.0.1")
        with socket.create_connection(("127.0.0.1", port.getHost().port)) as client:
            client.send(b"x")
            for _ in range(2):
                reactor.doIteration(10)
        assert places(seen)[0] == (__file__, "leak")
        assert places(seen)[1] == (__file__, Leaking.__qualname__)
        end(reactor, port)


def test_a_thread_whose_function_has_no_frame(seen: list[Leak]) -> None:
    with socket.socket() as sock:
        thread = threading.Thread(target=sock.connect_ex, args=(MAPPED,))
        thread.start()
        thread.join()
    assert places(seen) == [("", "socket.connect_ex")]


def test_a_thread_that_has_no_frame_at_all(seen: list[Leak]) -> None:
    done = threading.Event()
    with socket.socket() as sock:
        _thread.start_new_thread(lambda: (sock.connect_ex(MAPPED), done.set()), ())
        assert done.wait(10)
        assert caller_of(None) == ("?", 0, "?")
    [place] = places(seen)
    assert place[0] == __file__


def test_objects_of_anybodys_may_fail(seen: list[Leak]) -> None:
    class Proxy(partial[None]):
        def __getattr__(self, name: str) -> Any:
            raise (RuntimeError if name == "__code__" else AttributeError)(name)

    with socket.socket() as sock:
        thread = threading.Thread(target=Proxy(sock.connect_ex, MAPPED))
        thread.start()
        thread.join()
    assert [leak.function for leak in seen] == ["Thread._bootstrap"]


def test_a_package_that_is_run_by_its_name(tmp_path: Path) -> None:
    """``python -m aiohttp``: its first frame is no program's."""
    package = tmp_path / "aiohttp"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import sys\n"
        "from dsadapter.guard.callers import caller_of\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import program\n"
        "program.called(lambda: print(caller_of(sys._getframe()).function))\n"
    )
    (tmp_path / "program.py").write_text("def called(function):\n    function()\n")
    done = subprocess.run(
        [sys.executable, "-m", "aiohttp", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONSAFEPATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "called\n"
