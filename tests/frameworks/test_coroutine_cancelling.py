"""Trio and AnyIO, cancelled at every step, or out of descriptors: nothing is left open, and nobody
is left waiting."""

from __future__ import annotations

import contextlib
import errno
import gc
import socket
import warnings
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import trio
from anyio.abc import SocketAttribute
from support.back_ends import BACK_ENDS
from support.descriptors import none_left
from support.peers import peer
from support.processes import PATIENCE
from support.programs import free_port
from support.reactors import open_descriptors
from support.silent import answering
from support.windows import no_trio

from dsadapter import hookimpl
from dsadapter.frameworks import anyio as dual_anyio
from dsadapter.frameworks import trio as dual_trio
from dsadapter.testing import registered

STEPS = 40
"""More than any call here takes."""


class OfTrio:
    """Trio's functions, closed in one way."""

    async def listen(self, **options: Any) -> tuple[Any, int]:
        [listener] = await dual_trio.open_tcp_listeners(0, **options)
        return listener, listener.socket.getsockname()[1]

    async def connect(self, host: str, port: int) -> Any:
        return await dual_trio.open_tcp_stream(host, port)

    async def bind(self) -> Any:
        return await dual_trio.open_udp_socket()

    async def receive(self, sock: Any) -> Any:
        return await sock.recvfrom(100)

    def number_of(self, sock: Any) -> Any:
        return sock.getsockname()[1]


class OfAnyIO:
    async def listen(self, **options: Any) -> tuple[Any, int]:
        listener = await dual_anyio.create_tcp_listener(**options)
        return listener.listeners[0], listener.extra(SocketAttribute.local_port)

    async def connect(self, host: str, port: int) -> Any:
        return await dual_anyio.connect_tcp(host, port)

    async def bind(self) -> Any:
        return await dual_anyio.create_udp_socket()

    async def receive(self, sock: Any) -> Any:
        return await sock.receive()

    def number_of(self, sock: Any) -> Any:
        return sock.extra(SocketAttribute.local_port)


WAYS = [
    pytest.param((OfTrio(), ("trio", {})), id="OfTrio trio", marks=no_trio),
    *(pytest.param((OfAnyIO(), made), id=f"OfAnyIO {name}") for name, made in BACK_ENDS.items()),
]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Any:
    return request.param[0]


@pytest.fixture
def run(request: pytest.FixtureRequest, way: Any) -> Callable[[Callable[[], Any]], Any]:
    backend, options = request.node.callspec.params["way"][1]

    def running(body: Callable[[], Any]) -> Any:
        async def main() -> Any:
            with anyio.fail_after(PATIENCE):
                # A loop keeps what it opens at first use.
                with socket.create_server(("127.0.0.1", 0)) as server:
                    await closed(lambda: way.connect(*server.getsockname()))
                return await body()

        return anyio.run(main, backend=backend, backend_options=options)

    return running


@pytest.fixture(autouse=True)
def nothing_is_left_to_the_collector() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
        gc.collect()


def close(made: Any) -> None:
    sock = made.extra(SocketAttribute.raw_socket) if hasattr(made, "extra") else made.socket
    sock.close()


async def at_every_step(call: Callable[[], Awaitable[Any]]) -> int:
    """Cancel a call after so many turns of the loop, and count how often it was cancelled.

    What it gives all the same is closed. An open descriptor that was not there before fails.
    """
    cancelled = 0
    with contextlib.suppress(OSError), anyio.move_on_after(0.05):
        await closed(call)
    await settled()
    before = open_descriptors()
    for steps in range(STEPS):
        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()

            async def cancelling(scope: Any = scope, steps: int = steps) -> None:
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
                scope.cancel()

            group.start_soon(cancelling)
            with scope, contextlib.suppress(OSError):
                await closed(call)
        cancelled += scope.cancelled_caught
        await settled()
        assert open_descriptors() <= before, f"after {steps} turns"
    return cancelled


async def closed(call: Callable[[], Awaitable[Any]]) -> None:
    made = await call()
    with anyio.CancelScope(shield=True):
        if hasattr(made, "aclose"):
            await made.aclose()


async def settled() -> None:
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


NAMES = {
    # The first two refuse at once, the third is connected to.
    "several.test": ["127.0.0.8", "127.0.0.9", "127.0.0.1"],
    "one.test": ["127.0.0.1"],
    "none.test": ["127.0.0.8", "127.0.0.9"],
}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(host: Any, port: Any, *_args: Any, **_options: Any) -> list[Any]:
        known = NAMES[host.decode() if isinstance(host, bytes) else host]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port or 0)) for each in known]

    async def in_a_thread(*args: Any, **options: Any) -> list[Any]:
        return await anyio.to_thread.run_sync(getaddrinfo, *args, abandon_on_cancel=True)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    # That of uvloop asks the C library itself, and so another machine.
    monkeypatch.setattr(anyio, "getaddrinfo", in_a_thread)


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "127.0.0.9", *NAMES])
def test_connecting(run: Any, way: Any, host: str) -> None:
    async def main() -> None:
        number = free_port()
        with answering(number, "::1", "127.0.0.1"):
            await at_every_step(lambda: way.connect(host, number))

    run(main)


def test_accepting(run: Any, way: Any) -> None:
    async def main() -> None:
        listener, number = await way.listen()
        async with listener:
            with socket.create_connection(("127.0.0.1", number)):
                stream = await listener.accept()
                await stream.aclose()
            assert await at_every_step(listener.accept) == STEPS

            async def accepted() -> Any:
                with socket.create_connection(("127.0.0.1", number)):
                    return await listener.accept()

            await at_every_step(accepted)

    run(main)


@pytest.mark.not_on_windows("has no RLIMIT_NOFILE")
def test_accepting_without_a_descriptor_fails_and_can_be_done_again(run: Any, way: Any) -> None:
    async def main() -> None:
        listener, number = await way.listen()

        async def accepted(client: socket.socket) -> None:
            async with await listener.accept() as stream:
                client.sendall(b"there")
                receive = getattr(stream, "receive", None) or stream.receive_some
                assert await receive(5) == b"there"
            await settled()

        async with listener:
            with socket.create_connection(("127.0.0.1", number)) as client:
                await accepted(client)
            with socket.socket() as client:
                before = open_descriptors()
                client.connect(("127.0.0.1", number))
                with none_left(), pytest.raises(OSError) as caught:
                    await listener.accept()
                # Trio's servers log it, and go on.
                assert caught.value.errno == errno.EMFILE
                await accepted(client)
                assert open_descriptors() <= before

    run(main)


@pytest.mark.not_on_windows("has no RLIMIT_NOFILE")
def test_opening_without_a_descriptor_fails_and_can_be_done_again(run: Any, way: Any) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            number = server.getsockname()[1]

            async def opened(call: Callable[[], Awaitable[Any]]) -> None:
                made = await call()
                made = made[0] if isinstance(made, tuple) else made
                await made.aclose() if hasattr(made, "aclose") else made.close()
                await settled()

            for call in (way.listen, way.bind, lambda: way.connect("127.0.0.1", number)):
                await opened(call)
                before = open_descriptors()
                with none_left(), pytest.raises(OSError) as caught:
                    await call()
                assert caught.value.errno == errno.EMFILE
                await opened(call)
                assert open_descriptors() <= before

    run(main)


def test_listening(run: Any, way: Any) -> None:
    async def listen() -> Any:
        return (await way.listen())[0]

    async def main() -> None:
        await at_every_step(listen)

    run(main)


def test_datagrams(run: Any, way: Any) -> None:
    async def main() -> None:
        async def receive() -> Any:
            sock = await way.bind()
            try:
                await way.receive(sock)
            finally:
                with anyio.CancelScope(shield=True):
                    sock.close()

        assert await at_every_step(receive) == STEPS

    run(main)


def test_who_waits_for_a_datagram_gets_what_another_leaves(run: Any, way: Any) -> None:
    got: list[bytes] = []

    async def main() -> None:
        sock = await way.bind()

        async def receive() -> None:
            got.append((await way.receive(sock))[0])

        number = way.number_of(sock)
        with peer("127.0.0.1") as client:
            async with anyio.create_task_group() as group:
                group.start_soon(receive)
                await anyio.wait_all_tasks_blocked()
                for data in (b"1", b"2", b"3"):
                    client.sendto(data, ("127.0.0.1", number))
                # It takes one before the loop has found that the other may.
                await receive()
            await receive()
        assert sorted(got) == [b"1", b"2", b"3"]
        sock.close()

    run(main)


class Cancelling:
    """A plugin that cancels the connect that it is asked about."""

    def __init__(self) -> None:
        self.scope: Any = None

    @hookimpl
    def dsadapter_before_connect(self) -> None:
        if self.scope is not None:
            self.scope.cancel()


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "several.test"])
def test_by_a_plugin_in_the_midst_of_an_attempt(run: Any, way: Any, host: str) -> None:
    plugin = Cancelling()

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            number = server.getsockname()[1]
            for _ in range(3):
                with contextlib.suppress(OSError), anyio.CancelScope() as plugin.scope:
                    await closed(lambda: way.connect(host, number))
                await settled()
                if _ == 0:
                    before = open_descriptors()
            assert open_descriptors() <= before

    with registered(plugin):
        run(main)


def test_a_handler_that_crashes_ends_the_server(run: Any, way: Any) -> None:
    class CrashError(Exception):
        pass

    async def handle(stream: Any) -> None:
        async with stream:
            raise CrashError

    async def serve(listener: Any) -> None:
        async with listener:
            if isinstance(way, OfTrio):
                await trio.serve_listeners(handle, [listener])
            else:
                await listener.serve(handle)

    async def served() -> None:
        async with anyio.create_task_group() as group:
            listener, number = await way.listen()
            group.start_soon(serve, listener)
            with socket.create_connection(("127.0.0.1", number)):
                await anyio.sleep(PATIENCE)

    async def main() -> None:
        before: Any = None
        for _ in range(2):
            before = open_descriptors()
            with pytest.raises(BaseExceptionGroup) as caught:
                await served()
            assert caught.value.subgroup(CrashError)
        await settled()
        assert open_descriptors() <= before

    run(main)
