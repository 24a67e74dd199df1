"""``proxy_from`` under asyncio: the client's names everywhere, on every loop, over TLS too."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Authority
from support.loops import LOOPS
from support.processes import PATIENCE
from support.proxy_headers import HEADERS, IPV4, LOCAL, MAPPED, version_2
from support.reactors import open_descriptors

from dsadapter.addressing import AddressSet
from dsadapter.frameworks import asyncio as dual_stack
from dsadapter.testing import RecordingPlugin, registered

Run = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]

LOOPBACK = ["127.0.0.0/8", "::1"]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    return LOOPS[request.param]


class Recorder(asyncio.Protocol):
    def __init__(self, made: list[Recorder]) -> None:
        self.made = made
        self.received = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.made.append(self)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.transport.write(b"answer")

    def names(self) -> list[Any]:
        sock = self.transport.get_extra_info("socket")
        return [
            self.transport.get_extra_info("peername"),
            sock.getpeername(),
            self.transport.get_extra_info("sockname"),
            sock.getsockname(),
        ]


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def number_of(server: Any) -> int:
    number: int = server.sockets[0].getsockname()[1]
    return number


def ended(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(("header", "names"), HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("proxy", ["127.0.0.1", "::1"])
def test_the_names_are_the_clients(
    run: Run, header: bytes, names: tuple[Any, Any], proxy: str
) -> None:
    made: list[Recorder] = []

    async def main() -> None:
        async with await dual_stack.create_server(
            lambda: Recorder(made), None, 0, proxy_from=LOOPBACK
        ) as server:
            reader, writer = await asyncio.open_connection(proxy, number_of(server))
            writer.write(header + b"request")
            assert await reader.read(6) == b"answer"
            peer, local = names
            assert made[0].names() == [peer, peer, local, local]
            assert made[0].received == b"request"
            assert "::ffff:" not in repr(made[0].transport)
            [counters] = server.proxy_counters
            assert counters.passed == 1
            writer.close()
            await writer.wait_closed()

    run(main)


def test_the_application_sees_nothing_before_the_header(run: Run) -> None:
    made: list[Recorder] = []
    built: list[None] = []
    header = version_2(*MAPPED)

    def factory() -> Recorder:
        built.append(None)
        return Recorder(made)

    async def main() -> None:
        with registered(RecordingPlugin()) as plugin:
            async with await dual_stack.create_server(
                factory, None, 0, proxy_from=LOOPBACK
            ) as server:
                _, writer = await asyncio.open_connection("127.0.0.1", number_of(server))
                own = writer.get_extra_info("sockname")
                for at in range(len(header)):
                    writer.write(header[at : at + 1])
                    await asyncio.sleep(0.002)
                    assert at == len(header) - 1 or not (built or plugin.of("connection_made"))
                await until(lambda: made)
                [connection] = plugin.of("connection_made")
                assert (connection.peer, connection.local) == IPV4
                assert (connection.proxy, connection.framework) == (own, "asyncio")
                writer.close()
                await until(lambda: plugin.of("connection_lost"))
                assert plugin.of("connection_lost") == [connection]

    run(main)


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    issued = Authority.made().issue("localhost")
    (tmp_path / "own.pem").write_bytes(issued.pem + issued.key_pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem")
    return context


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_the_header_comes_before_TLS(run: Run, context: ssl.SSLContext) -> None:
    seen: list[Any] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername"))
        seen.append(writer.get_extra_info("sockname"))
        writer.write(await reader.read(7))
        writer.close()

    def ask(number: int) -> bytes:
        with socket.create_connection(("127.0.0.1", number), timeout=PATIENCE) as sock:
            sock.sendall(version_2(*MAPPED))
            with trusting().wrap_socket(sock) as wrapped:
                wrapped.sendall(b"request")
                return wrapped.recv(7)

    async def main() -> None:
        async with await dual_stack.start_server(
            serve, None, 0, proxy_from=LOOPBACK, ssl=context
        ) as server:
            answer = await asyncio.get_running_loop().run_in_executor(None, ask, number_of(server))
            assert answer == b"request"
        assert tuple(seen) == IPV4

    run(main)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("end", ["close_clients", "abort_clients"])
def test_it_closes_its_connections(run: Run, end: str, tls: bool, context: ssl.SSLContext) -> None:
    made: list[Recorder] = []
    told: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with await dual_stack.create_server(
            lambda: Recorder(made), None, 0, proxy_from=LOOPBACK, ssl=context if tls else None
        ) as server:
            address = "127.0.0.1", number_of(server)
            with (
                socket.create_connection(address, timeout=PATIENCE) as client,
                socket.create_connection(address, timeout=PATIENCE) as silent,
            ):
                client.sendall(LOCAL)
                wrap = partial(trusting().wrap_socket, suppress_ragged_eofs=False)
                with await asyncio.to_thread(wrap, client) if tls else client as asking:
                    # With TLS this one is in its handshake.
                    silent.sendall(LOCAL)
                    [counters] = server.proxy_counters
                    await until(lambda: made and counters.passed == 2)
                    await asyncio.sleep(0)
                    getattr(server, end)()
                    for each in (asking, silent):
                        try:
                            assert await asyncio.to_thread(each.recv, 1) == b""
                        except (ConnectionError, ssl.SSLEOFError):
                            assert end == "abort_clients"
        gc.collect()

    run(main)
    assert told == []


@pytest.mark.parametrize(
    ("sent", "counter"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", "malformed"),
        (b"PROXY TCP6 not-an-ip ::1 4000 80\r\n", "malformed"),
        (b"PROXY TCP4 " + 200 * b"1", "malformed"),
        (version_2(*MAPPED)[:-1], "late"),
        (b"", "late"),
    ],
    ids=["no-header", "no-address", "over-long", "cut", "silent"],
)
def test_what_is_no_whole_header_in_time_ends(run: Run, sent: bytes, counter: str) -> None:
    made: list[Recorder] = []

    async def main() -> None:
        async with await dual_stack.create_server(
            lambda: Recorder(made), None, 0, proxy_from=LOOPBACK, proxy_timeout=0.3
        ) as server:
            before = open_descriptors()
            with socket.create_connection(("127.0.0.1", number_of(server))) as client:
                client.sendall(sent)
                await until(lambda: ended(client))
            [counters] = server.proxy_counters
            assert getattr(counters, counter) == 1
            assert counters.passed == 0
            assert open_descriptors() <= before
        assert not made

    run(main)


def test_a_stranger_is_closed(run: Run) -> None:
    made: list[Recorder] = []

    async def main() -> None:
        async with await dual_stack.create_server(
            lambda: Recorder(made), "localhost", 0, proxy_from=AddressSet(["127.0.0.1"])
        ) as server:
            number = number_of(server)
            with socket.create_connection(("::1", number)) as client:
                client.sendall(version_2(*MAPPED))
                await until(lambda: ended(client))
            with socket.create_connection(("127.0.0.1", number)) as client:
                client.sendall(LOCAL + b"request")
                await until(lambda: made and made[0].received)
                assert made[0].names()[0] == client.getsockname()
            assert sum(counters.strangers for counters in server.proxy_counters) == 1

    run(main)


def test_closing_ends_those_that_wait(run: Run) -> None:
    async def main() -> None:
        server = await dual_stack.create_server(asyncio.Protocol, None, 0, proxy_from=LOOPBACK)
        with socket.create_connection(("127.0.0.1", number_of(server))) as client:
            await asyncio.sleep(0.05)
            server.close()
            await server.wait_closed()
            await until(lambda: ended(client))
        assert not server.is_serving()
        assert not server.sockets

    run(main)


def test_a_given_socket_is_refused() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            with pytest.raises(ValueError, match="proxy_from goes with no sock"):
                await dual_stack.create_server(asyncio.Protocol, sock=sock, proxy_from=LOOPBACK)

    asyncio.run(main())
