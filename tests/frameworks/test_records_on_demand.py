"""Records of connections under Trio, AnyIO, asyncio and uvloop: nobody is asked for what no plugin
reads, and what one reads late is right."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import anyio.abc
import pytest
import trio
from support.back_ends import BACK_ENDS
from support.name_calls import counted_names
from support.observers import Beginnings, Silent
from support.windows import WINDOWS, meets_resets, no_trio

import dsadapter.frameworks.anyio as dual_anyio
import dsadapter.frameworks.asyncio as dual_asyncio
import dsadapter.frameworks.trio as dual_trio
from dsadapter import hookimpl
from dsadapter.testing import RecordingPlugin, registered

HOSTS = ["127.0.0.1", "::1"]
RESET = struct.pack("ii", 1, 0)

Use = Callable[[socket.socket, Any], Awaitable[None]]


class AtTheEnd:
    """Reads the address of a connection that is lost, and keeps nothing of it."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @hookimpl
    def dsadapter_connection_lost(self, connection: Any) -> None:
        self.seen.append(connection.local)


def of_trio(host: str, use: Use) -> None:
    async def main() -> None:
        async with (await dual_trio.open_tcp_listeners(0))[0] as listener:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as client:
                client.connect((host, listener.socket.getsockname()[1]))
                await use(client, await listener.accept())

    trio.run(main)


def of_anyio(back_end: str, host: str, use: Use) -> None:
    async def main() -> None:
        async with await dual_anyio.create_tcp_listener() as several:
            port = several.extra(anyio.abc.SocketAttribute.local_port)
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as client:
                client.connect((host, port))
                listener: Any = several.listeners[0]
                await use(client, await listener.accept())

    name, options = BACK_ENDS[back_end]
    anyio.run(main, backend=name, backend_options=options)


Run = Callable[[str, Use], None]
RUNS = [
    pytest.param(of_trio, id="trio", marks=no_trio),
    *(pytest.param(partial(of_anyio, name), id=f"anyio-{name}") for name in BACK_ENDS),
]
LASTING = [
    pytest.param(of_trio, id="trio", marks=no_trio),
    *([] if WINDOWS else [pytest.param(partial(of_anyio, "trio"), id="anyio-trio")]),
]


async def close(_client: socket.socket, stream: Any) -> None:
    await stream.aclose()


async def meet_a_reset(client: socket.socket, stream: Any) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()
    with pytest.raises((trio.BrokenResourceError, anyio.BrokenResourceError)):
        await (stream.receive_some() if isinstance(stream, trio.SocketStream) else stream.receive())
    # What asyncio does about it comes in a later turn.
    for _ in range(5):
        await anyio.lowlevel.checkpoint()
    await stream.aclose()


async def let_go(_client: socket.socket, stream: Any) -> None:
    forcefully: Any = anyio.aclose_forcefully
    await (trio.aclose_forcefully if isinstance(stream, trio.SocketStream) else forcefully)(stream)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("run", LASTING)
def test_nobody_is_asked_for_what_no_plugin_reads(run: Run, host: str) -> None:
    def calls() -> int:
        with counted_names() as counted:
            run(host, close)
        return counted.number

    without = calls()
    with registered(Silent()) as plugin:
        assert calls() == without
    assert plugin.lost == 1


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("end", [close, pytest.param(meet_a_reset, marks=meets_resets), let_go])
@pytest.mark.parametrize("run", RUNS)
def test_whoever_reads_it_at_the_end_alone_is_told_it(run: Run, end: Use, host: str) -> None:
    served: list[Any] = []

    async def use(client: socket.socket, stream: Any) -> None:
        served.append(client.getpeername())
        await end(client, stream)

    with registered(AtTheEnd()) as plugin:
        run(host, use)
    assert plugin.seen == served


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("plugin", [RecordingPlugin, Beginnings])
@pytest.mark.parametrize("run", RUNS)
def test_a_record_that_is_kept_knows_it_when_its_descriptor_is_anothers(
    run: Run, plugin: Any, host: str
) -> None:
    served: list[Any] = []

    async def use(client: socket.socket, stream: Any) -> None:
        served.append(client.getpeername())
        await stream.aclose()
        # They have the lowest numbers that are free.
        others = [socket.create_server(("127.0.0.1", 0)) for _ in range(5)]
        for other in others:
            other.close()

    with registered(plugin()) as told:
        run(host, use)
    [record] = told.kept if isinstance(told, Beginnings) else told.of("connection_made")
    assert [record.local] == served


@no_trio
@pytest.mark.parametrize("host", HOSTS)
def test_a_duplicate_under_trio_that_lives_longer(host: str) -> None:
    served: list[Any] = []

    async def use(client: socket.socket, stream: Any) -> None:
        served.append(client.getpeername())
        duplicate = stream.socket.dup()
        await stream.aclose()
        assert plugin.seen == []
        duplicate.close()

    with registered(AtTheEnd()) as plugin:
        of_trio(host, use)
    assert plugin.seen == served


@no_trio
@pytest.mark.parametrize("host", HOSTS)
def test_a_descriptor_that_is_taken_from_trio(host: str) -> None:
    served: list[Any] = []

    async def use(client: socket.socket, stream: Any) -> None:
        served.append(client.getpeername())
        socket.close(stream.socket.detach())

    with registered(AtTheEnd()) as plugin:
        of_trio(host, use)
    assert plugin.seen == served


@pytest.mark.not_on_windows("uvloop is not for Windows")
@pytest.mark.parametrize("mode", ["dual-stack", "pair"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("resets", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("plugin", [AtTheEnd, RecordingPlugin, Beginnings])
def test_a_loop_closes_descriptors_before_anybody_else_learns_of_it(
    loop: str, mode: Any, resets: bool, plugin: Any
) -> None:
    async def main() -> list[Any]:
        lost = asyncio.Event()

        class Protocol(asyncio.Protocol):
            def connection_lost(self, _error: Exception | None) -> None:
                lost.set()

        running = asyncio.get_running_loop()
        server = await dual_asyncio.create_server(Protocol, None, 0, mode=mode)
        names = []
        for host in HOSTS:
            lost.clear()
            port = server.sockets[0].getsockname()[1]
            with await running.run_in_executor(None, socket.create_connection, (host, port)) as one:
                names.append(one.getpeername())
                if resets:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                await asyncio.sleep(0.01)
            await lost.wait()
        server.close()
        await server.wait_closed()
        return names

    with registered(plugin()) as told:
        if loop == "uvloop":
            import uvloop

            served = uvloop.run(main())
        else:
            served = asyncio.run(main())
    if isinstance(told, AtTheEnd):
        seen = told.seen
    else:
        kept = told.kept if isinstance(told, Beginnings) else told.of("connection_lost")
        seen = [record.local for record in kept]
    assert seen == served
