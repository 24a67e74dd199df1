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
from support.certificates import Authority
from support.loop_servers import Run, number_of, until
from support.processes import PATIENCE
from support.reactors import open_descriptors

from dsadapter.frameworks import asyncio as dual_stack
from dsadapter.testing import RecordingPlugin, registered

ROUNDS = 9
PROGRAM = f"""
import asyncio, contextlib, gc, socket, ssl, struct, sys, uvloop
from dsadapter.frameworks.asyncio import create_connection, create_server

theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
theirs.load_cert_chain(sys.argv[1])
ours = ssl.create_default_context()
ours.check_hostname, ours.verify_mode = False, ssl.CERT_NONE

class Failing(asyncio.Protocol):
    def connection_made(self, transport):
        raise RuntimeError("no such name")

class LettingGo(asyncio.Protocol):
    def connection_made(self, transport):
        transport.pause_reading()

def resetting(listener):
    for _ in range({ROUNDS}):
        accepted, _ = listener.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()

def asked(number, sends, tls):
    with socket.create_connection(("127.0.0.1", number)) as client:
        client.sendall(sends)
        with ours.wrap_socket(client) if tls else client as asking:
            if tls:
                # More than an endpoint of TLS takes of its own accord.
                with contextlib.suppress(OSError):
                    asking.sendall(bytes(1 << 24))
            else:
                assert client.recv(1) == b""

async def served(factory, sends=b"", tls=None, **options):
    async with await create_server(factory, None, 0, ssl=tls, **options) as server:
        number = server.sockets[0].getsockname()[1]
        for _ in range({ROUNDS}):
            asking = asyncio.ensure_future(asyncio.to_thread(asked, number, sends, bool(tls)))
            while not asking.done():
                await asyncio.sleep(0.005)
                gc.collect()
            asking.result()

async def main():
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(1))
    await served(Failing)
    await served(Failing, b"PROXY UNKNOWN\\r\\n", proxy_from=["127.0.0.1"])
    await served(LettingGo, tls=theirs)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range({ROUNDS}):
            await create_connection(Failing, *listener.getsockname())
    assert len(told) == 3 * {ROUNDS}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = asyncio.ensure_future(asyncio.to_thread(resetting, listener))
        for _ in range({ROUNDS}):
            with contextlib.suppress(ConnectionError):
                await create_connection(asyncio.Protocol, *listener.getsockname(), ssl=ours)
        await accepting

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
        server = await dual_stack.create_server(LettingGo, None, 0)
        with socket.create_connection((host, number_of(server))) as client:
            answer = asyncio.ensure_future(asyncio.to_thread(received, client))
            while not answer.done():
                await asyncio.sleep(0.01)
                gc.collect()
        # Python 3.12's own would wait for the transport that is gone.
        server.close()
        return await answer

    assert run(main) == b""


def received(client: socket.socket) -> bytes:
    client.settimeout(PATIENCE)
    return client.recv(1)


@pytest.mark.not_on_windows("uvloop is not for it")
def test_no_descriptor_is_closed_twice_under_uvloop(tmp_path: Path) -> None:
    """Another thread may have the number by then."""
    pytest.importorskip("uvloop", reason="uvloop has no wheel for this machine")
    trace, pem = tmp_path / "trace", tmp_path / "own.pem"
    issued = Authority.made().issue("localhost")
    pem.write_bytes(issued.pem + issued.key_pem())
    command = ("strace", "-f", "-e", "trace=close", "-o", str(trace))
    program = (sys.executable, "-W", "ignore", "-c", PROGRAM, str(pem))
    subprocess.run([*command, *program], check=True, timeout=PATIENCE)
    closed = trace.read_text()
    assert closed.count("close(") > 5 * ROUNDS
    assert "EBADF" not in closed
