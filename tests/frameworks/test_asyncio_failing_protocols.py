"""Protocols that raise when they meet their connection, or let go of it."""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.loop_servers import Run, number_of, until
from support.processes import PATIENCE
from support.reactors import open_descriptors

from dsadapter.frameworks import asyncio as dual_stack
from dsadapter.testing import RecordingPlugin, registered

ROUNDS = 9
PROGRAM = f"""
import asyncio, socket, uvloop
from dsadapter.frameworks.asyncio import create_server

class Failing(asyncio.Protocol):
    def connection_made(self, transport):
        raise RuntimeError("no such name")

async def main():
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(1))
    async with await create_server(Failing, None, 0) as server:
        address = "127.0.0.1", server.sockets[0].getsockname()[1]
        for _ in range({ROUNDS}):
            with socket.create_connection(address) as client:
                assert await asyncio.to_thread(client.recv, 1) == b""
    assert len(told) == {ROUNDS}

uvloop.run(main())
"""


class Failing(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        raise RuntimeError("no such name")


class LettingGo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        # The loop has those that it reads from. uvloop begins to when this has returned.
        transport.pause_reading()
        asyncio.get_running_loop().call_soon(transport.pause_reading)


# uvloop says so of each, of its own server's as well.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_nothing_stays_open(run: Run, host: str, observed: bool) -> None:
    plugin = RecordingPlugin()

    async def main() -> None:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda *_: told.append(1))
        async with await dual_stack.create_server(Failing, None, 0) as server:
            # What a loop opens with the first connection stays.
            socket.create_connection((host, number_of(server))).close()
            await until(lambda: told)
            before = len(open_descriptors())
            for _ in range(ROUNDS):
                socket.create_connection((host, number_of(server))).close()
            await until(lambda: len(told) == 1 + ROUNDS)
            await until(lambda: len(open_descriptors()) <= before)

    if observed:
        with registered(plugin):
            run(main)
        made, lost = (plugin.of(f"connection_{what}") for what in ("made", "lost"))
        assert len(made) == 1 + ROUNDS
        assert {*map(id, lost)} == {*map(id, made)}
    else:
        run(main)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_abandoned_connection_is_closed(run: Run, host: str) -> None:
    async def main() -> bytes:
        async with await dual_stack.create_server(LettingGo, None, 0) as server:
            with socket.create_connection((host, number_of(server))) as client:
                answer = asyncio.ensure_future(asyncio.to_thread(received, client))
                while not answer.done():
                    await asyncio.sleep(0.01)
                    gc.collect()
                return await answer

    assert run(main) == b""


def received(client: socket.socket) -> bytes:
    client.settimeout(PATIENCE)
    return client.recv(1)


@pytest.mark.not_on_windows("uvloop is not for it")
def test_no_descriptor_is_closed_twice_under_uvloop(tmp_path: Path) -> None:
    """Another thread may have the number by then."""
    pytest.importorskip("uvloop", reason="uvloop has no wheel for this machine")
    trace = tmp_path / "trace"
    command = ("strace", "-f", "-e", "trace=close", "-o", str(trace))
    subprocess.run([*command, sys.executable, "-W", "ignore", "-c", PROGRAM], check=True)
    closed = trace.read_text()
    assert closed.count("close(") > ROUNDS
    assert "EBADF" not in closed
