"""asyncio's servers: what a ``Server`` promises, beside the loop's own; TLS; descriptors that run
out."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet, ref

import pytest
from support.certificates import Files
from support.descriptors import none_left
from support.loop_servers import Echo, Run, hang_up, names_of, number_of, until
from support.processes import PATIENCE, running
from support.reactors import open_descriptors
from support.seccomp import deny_option_in_this_thread
from support.windows import WINDOWS

from dsadapter import hookimpl
from dsadapter.frameworks import asyncio as dual_stack
from dsadapter.sockets.listening import listening_socket
from dsadapter.testing import RecordingPlugin, registered

BOTH = ["127.0.0.1", "::1"]
IPV6_ADDRFORM = 1
Make = Callable[..., Awaitable[Any]]


async def the_loops_own(factory: Any, host: str | None, port: int, **options: Any) -> Any:
    return await asyncio.get_running_loop().create_server(factory, "::", port, **options)


WHOSE = pytest.mark.parametrize("make", [dual_stack.create_server, the_loops_own])
"""A test of both says that they do the same."""


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files.written_to(tmp_path)


async def refused(number: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("::1", number)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def is_let_go(number: int) -> bool:
    """Whether nobody listens any more."""
    if WINDOWS:
        # In Wine a select of another thread keeps a closed socket until it returns.
        async with asyncio.timeout(PATIENCE):
            while not await refused(number):
                await asyncio.sleep(0.01)
    return await refused(number)


class TestServer:
    @WHOSE
    def test_it_serves_at_once_and_stops(self, run: Run, make: Make) -> None:
        async def main() -> None:
            server = await make(lambda: Echo([]), None, 0)
            assert server.is_serving()
            if make is dual_stack.create_server:
                assert server.get_loop() is asyncio.get_running_loop()
            [sock] = server.sockets
            assert sock.getsockname()[:2] == ("::", number_of(server))
            number = number_of(server)
            assert not await refused(number)
            server.close()
            server.close()
            assert not server.is_serving()
            assert list(server.sockets) == []
            await asyncio.wait_for(server.wait_closed(), PATIENCE)
            assert await is_let_go(number)

        run(main)

    @pytest.mark.not_on_windows("there is no SO_REUSEPORT")
    @WHOSE
    def test_a_port_is_shared_by_whoever_asks_for_it(self, run: Run, make: Make) -> None:
        async def main() -> None:
            first = await make(lambda: Echo([]), None, 0, reuse_port=True)
            number = number_of(first)
            with pytest.raises(OSError) as caught:
                await make(lambda: Echo([]), None, number)
            assert caught.value.errno == errno.EADDRINUSE
            second = await make(lambda: Echo([]), None, number, reuse_port=True)
            first.close()
            await asyncio.wait_for(first.wait_closed(), PATIENCE)
            for host in BOTH if make is dual_stack.create_server else ["::1"]:
                reader, writer = await asyncio.open_connection(host, number)
                writer.write(b"hello")
                assert await reader.readexactly(5) == b"hello"
                await hang_up(reader, writer)
            second.close()
            await asyncio.wait_for(second.wait_closed(), PATIENCE)
            assert await refused(number)

        run(main)

    def test_it_does_not_serve_any_more(self, run: Run) -> None:
        async def main() -> None:
            server = await dual_stack.create_server(asyncio.Protocol, None, 0)
            server.close()
            with pytest.raises(RuntimeError, match="is closed"):
                await server.start_serving()
            assert not server.is_serving()

        run(main)

    @WHOSE
    def test_it_does_not_serve_before_it_is_told_to(self, run: Run, make: Make) -> None:
        async def main() -> None:
            seen: list[Any] = []
            server = await make(lambda: Echo(seen), None, 0, start_serving=False)
            assert not server.is_serving()
            assert seen == []
            await server.start_serving()
            await server.start_serving()
            assert server.is_serving()
            assert not await refused(number_of(server))
            await until(lambda: seen)
            server.close()
            await server.wait_closed()

        run(main)

    @WHOSE
    def test_waiting_for_an_open_server_lasts_until_it_is_closed(
        self, run: Run, make: Make
    ) -> None:
        async def main() -> None:
            server = await make(lambda: Echo([]), None, 0)
            waiting = asyncio.ensure_future(server.wait_closed())
            for _ in range(5):
                await asyncio.sleep(0)
            assert not waiting.done()
            server.close()
            await asyncio.wait_for(waiting, PATIENCE)

        run(main)

    @WHOSE
    def test_serving_forever_ends_with_being_cancelled(self, run: Run, make: Make) -> None:
        async def main() -> None:
            server = await make(lambda: Echo([]), None, 0, start_serving=False)
            forever = asyncio.ensure_future(server.serve_forever())
            await until(server.is_serving)
            with pytest.raises(RuntimeError, match="already being awaited"):
                await server.serve_forever()
            assert server.is_serving()
            forever.cancel()
            with pytest.raises(asyncio.CancelledError):
                await forever
            assert not server.is_serving()
            with pytest.raises(RuntimeError, match="is closed"):
                await server.serve_forever()

        run(main)

    @pytest.mark.parametrize("end", ["cancel", "close"])
    @pytest.mark.parametrize("options", [{}, {"mode": "pair"}])
    def test_serving_forever_that_ends_when_it_has_hardly_begun(
        self, run: Run, options: Any, end: str
    ) -> None:
        make = partial(dual_stack.create_server, start_serving=False, **options)

        async def main() -> None:
            for turns in range(1, 5):
                server = await make(lambda: Echo([]), None, 0)
                number = number_of(server)
                forever = asyncio.ensure_future(server.serve_forever())
                for _ in range(turns):
                    await asyncio.sleep(0)
                forever.cancel() if end == "cancel" else server.close()
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.wait_for(forever, PATIENCE)
                assert not server.sockets
                assert await refused(number)

        run(main)

    @WHOSE
    def test_serving_forever_ends_with_being_closed(self, run: Run, make: Make) -> None:
        async def main() -> None:
            server = await make(lambda: Echo([]), None, 0)
            forever = asyncio.ensure_future(server.serve_forever())
            for _ in range(3):
                await asyncio.sleep(0)
            server.close()
            with pytest.raises(asyncio.CancelledError):
                await forever

        # uvloop's own goes on waiting.
        if make is dual_stack.create_server or "uvloop" not in repr(run):
            run(main)

    @WHOSE
    def test_a_connection_outlives_it(self, run: Run, make: Make) -> None:
        async def main() -> None:
            server = await make(lambda: Echo([]), None, 0)
            reader, writer = await asyncio.open_connection("::1", number_of(server))
            writer.write(b"x")
            await reader.readexactly(1)
            server.close()
            writer.write(b"y")
            assert await reader.readexactly(1) == b"y"
            writer.close()
            await asyncio.wait_for(server.wait_closed(), PATIENCE)

        run(main)

    @pytest.mark.parametrize("end", ["close_clients", "abort_clients"])
    @pytest.mark.parametrize("tls", [False, True])
    @pytest.mark.parametrize("mode", ["dual-stack", "pair"])
    def test_it_closes_its_connections(
        self, run: Run, end: str, tls: bool, mode: Any, files: Files
    ) -> None:
        theirs, ours = files.contexts

        async def main() -> None:
            before = open_descriptors()
            loop = asyncio.get_running_loop()
            server = await dual_stack.create_server(
                lambda: Echo([]), None, 0, ssl=theirs if tls else None, mode=mode
            )
            own = isinstance(loop, asyncio.SelectorEventLoop)
            async with server:
                if own and not hasattr(asyncio.Server, end):
                    # The loop's own has none before Python 3.13.
                    with pytest.raises(AttributeError):
                        getattr(server, end)()
                    return
                made = []
                for host in BOTH:
                    reader, writer = await asyncio.open_connection(
                        host,
                        number_of(server),
                        ssl=ours if tls else None,
                        server_hostname="localhost" if tls else None,
                    )
                    writer.write(b"x")
                    await reader.readexactly(1)
                    made.append((reader, writer))
                getattr(server, end)()
                for reader, writer in made:
                    try:
                        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
                    except (ConnectionResetError, ssl.SSLError):
                        assert end == "abort_clients" or tls
                    writer.close()
            await until(lambda: len(open_descriptors()) <= len(before) + 1)

        run(main)

    @pytest.mark.parametrize("option", ["keep_alive", "no_such_thing"])
    def test_options_are_those_of_the_running_Python(self, run: Run, option: str) -> None:
        async def main() -> None:
            options: dict[str, Any] = {option: True}
            seen: list[Any] = []

            class Asking(Echo):
                def connection_made(self, transport: Any) -> None:
                    sock = transport.get_extra_info("socket")
                    seen.append(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
                    transport.close()

            if option == "no_such_thing" or sys.version_info < (3, 13):
                with pytest.raises(TypeError, match=f"unexpected keyword argument '{option}'"):
                    await dual_stack.create_server(lambda: Asking([]), None, 0, **options)
                return
            async with await dual_stack.create_server(
                lambda: Asking([]), None, 0, **options
            ) as server:
                with socket.create_connection(("127.0.0.1", number_of(server))):
                    await until(lambda: seen)
            assert seen == [1]

        run(main)

    @pytest.mark.parametrize("given", ["0", "", None, b"0"])
    def test_a_port_as_the_loop_takes_it(self, run: Run, given: Any) -> None:
        async def main() -> None:
            async with await dual_stack.create_server(lambda: Echo([]), None, given) as server:
                number = number_of(server)
                reader, writer = await dual_stack.open_connection("127.0.0.1", str(number))
                assert writer.get_extra_info("peername") == ("127.0.0.1", number)
                await hang_up(reader, writer)

        run(main)

    @WHOSE
    def test_a_service_that_nobody_knows(self, run: Run, make: Make) -> None:
        async def main() -> None:
            with pytest.raises(socket.gaierror) as unknown:
                await make(asyncio.Protocol, None, "no-such-service")
            assert unknown.value.errno == socket.EAI_SERVICE

        run(main)

    def test_a_service_by_its_name(self, run: Run) -> None:
        async def main() -> None:
            with pytest.raises(ConnectionRefusedError, match=r"127\.0\.0\.1:80 "):
                await dual_stack.open_connection("127.0.0.1", "http")

        run(main)

    @pytest.mark.parametrize("watched", [False, True])
    def test_a_ready_socket_is_served_and_watched(self, run: Run, watched: bool) -> None:
        seen: list[Any] = []

        async def main() -> None:
            given = listening_socket("::", 0)
            async with await dual_stack.create_server(lambda: Echo(seen), sock=given) as server:
                with socket.create_connection(("127.0.0.1", number_of(server))) as client:
                    await until(lambda: seen)
                    assert seen[0][:2] == [client.getsockname()] * 2
                if watched:
                    await until(lambda: recording.of("connection_lost"))

        with registered(RecordingPlugin()) as recording:
            run(main)
        told = [event.hook for event in recording.events]
        assert told[0] == "before_bind"
        assert told.count("connection_made") == told.count("connection_lost") <= 1
        assert told.count("listener_opened") == told.count("listener_closed") == 1

    def test_a_socket_that_is_bound_and_does_not_listen_yet(self, run: Run) -> None:
        async def main() -> None:
            given = socket.socket(socket.AF_INET6)
            given.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            given.bind(("::", 0))
            seen: list[Any] = []
            async with await dual_stack.create_server(lambda: Echo(seen), sock=given) as server:
                with socket.create_connection(("127.0.0.1", number_of(server))) as client:
                    await until(lambda: seen)
                    assert seen[0][0] == client.getsockname()

        run(main)

    @pytest.mark.parametrize("listens", [False, True])
    @pytest.mark.parametrize("host", ["", "127.0.0.1", "::1"])
    def test_plugins_are_told_of_a_socket_that_another_has_opened(
        self, run: Run, host: str, listens: bool
    ) -> None:
        def bound() -> socket.socket:
            given = socket.socket(socket.AF_INET if "." in host else socket.AF_INET6)
            if not host:
                given.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            given.bind((host, 0))
            if listens:
                given.listen()
            return given

        async def main() -> None:
            async with await dual_stack.create_server(lambda: Echo([]), sock=bound()) as server:
                asked = host or "127.0.0.1"
                with socket.create_connection((asked, number_of(server))) as client:
                    name = client.getsockname()
                await until(lambda: recording.of("connection_lost"))
                [made] = recording.of("connection_made")
                assert (made.peer, made.framework) == (name, "asyncio")

        with registered(RecordingPlugin()) as recording:
            run(main)
        [policy] = recording.of("before_bind")
        mode = {"": "dual-stack", "127.0.0.1": "ipv4", "::1": "ipv6"}[host]
        assert (policy.host, policy.mode) == (host or "::", mode)
        told = [event.hook for event in recording.events]
        assert told.count("listener_opened") == told.count("listener_closed") == 1

        class Guard:
            @hookimpl
            def dsadapter_before_bind(self) -> None:
                raise PermissionError("not here")

        async def refused() -> None:
            with pytest.raises(PermissionError, match="not here"):
                await dual_stack.create_server(asyncio.Protocol, sock=bound())

        before = open_descriptors()
        with registered(Guard()):
            run(refused)
        assert open_descriptors() <= before

    @pytest.mark.parametrize(
        ("family", "kind"),
        [
            (socket.AF_INET, socket.SOCK_DGRAM),
            (socket.AF_INET6, socket.SOCK_DGRAM),
            *(
                (family, kind)
                for family in [getattr(socket, "AF_UNIX", None)]
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)
                if family is not None
            ),
        ],
    )
    @pytest.mark.parametrize("call", ["create_server", "create_connection"])
    def test_a_socket_of_the_wrong_kind(self, run: Run, family: int, kind: int, call: str) -> None:
        async def main() -> None:
            with socket.socket(family, kind) as given:
                with pytest.raises(ValueError, match=r"give a (bound|connected) TCP socket"):
                    await getattr(dual_stack, call)(asyncio.Protocol, sock=given)
                # It is the caller's still.
                assert given.fileno() != -1

        run(main)

    def test_what_is_no_socket(self, run: Run) -> None:
        async def main() -> None:
            for call in (dual_stack.create_server, dual_stack.create_connection):
                with pytest.raises(TypeError, match="sock 7 is not a socket"):
                    await call(asyncio.Protocol, sock=7)  # type: ignore[operator]

        run(main)


@pytest.mark.parametrize("options", [{"mode": "pair"}, {"family": socket.AF_INET}])
def test_what_is_never_mapped_is_watched_all_the_same(run: Run, options: dict[str, Any]) -> None:
    class Slotted(asyncio.Protocol):
        """Has no room for an attribute."""

        __slots__ = ("transport",)

        def connection_made(self, transport: Any) -> None:
            transport.close()

    async def main() -> None:
        for factory in (lambda: Echo([]), Slotted):
            async with await dual_stack.create_server(factory, None, 0, **options) as server:
                with socket.create_connection(("127.0.0.1", number_of(server))) as client:
                    await until(lambda: recording.of("connection_made"))
                    [made] = recording.of("connection_made")
                    assert made.peer == client.getsockname()
                    assert made.local == client.getpeername()
                await until(lambda: recording.of("connection_lost"))
            recording.events.clear()

    with registered(RecordingPlugin()) as recording:
        run(main)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("options", [{}, {"mode": "pair"}])
def test_a_protocol_that_another_takes_the_place_of(
    run: Run, options: dict[str, Any], tls: bool, files: Files
) -> None:
    class Later(asyncio.Protocol):
        pass

    class First(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            with suppress(TypeError):
                # uvloop's of TLS take no reference.
                transports.add(transport)

        def data_received(self, data: bytes) -> None:
            self.transport.set_protocol(Later())
            self.transport.write(data)

    theirs, ours = files.contexts
    transports: WeakSet[Any] = WeakSet()

    def ask(number: int) -> None:
        with socket.create_connection(("127.0.0.1", number)) as client:
            name = "127.0.0.1"
            with ours.wrap_socket(client, server_hostname=name) if tls else client as asking:
                asking.sendall(b"x")
                assert asking.recv(1) == b"x"

    async def main() -> None:
        ssl = theirs if tls else None
        async with await dual_stack.create_server(First, None, 0, ssl=ssl, **options) as server:
            for _ in range(5):
                await asyncio.to_thread(ask, number_of(server))

            def all_told() -> bool:
                gc.collect()
                return len(recording.of("connection_lost")) == 5 and not transports

            await until(all_told)

    with registered(RecordingPlugin()) as recording:
        run(main)
    assert len(recording.of("connection_made")) == 5


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("options", [{}, {"mode": "pair"}])
def test_a_protocol_of_many_connections(run: Run, options: dict[str, Any], early: bool) -> None:
    class Shared(asyncio.Protocol):
        def __init__(self) -> None:
            self.transports: dict[Any, Any] = {}
            self.lost = 0

        def connection_made(self, transport: Any) -> None:
            self.transports[transport.get_extra_info("peername")] = transport

        def eof_received(self) -> bool:
            return True

        def connection_lost(self, error: Exception | None) -> None:
            self.lost += 1

    async def main() -> None:
        shared = Shared()
        make = partial(dual_stack.create_server, start_serving=False, **options)
        async with await make(lambda: shared, None, 0) as server:
            address = "127.0.0.1", number_of(server)
            clients = [socket.create_connection(address) for _ in range(20)]
            if early:
                # These can't be AF_INET ones any more.
                for client in clients:
                    client.shutdown(socket.SHUT_WR)
            await server.start_serving()
            await until(lambda: len(shared.transports) == len(clients))
            for number, client in enumerate(clients):
                assert [shared.lost, len(recording.of("connection_lost"))] == 2 * [number]
                shared.transports.pop(client.getsockname()).close()
                await until(lambda: len(recording.of("connection_lost")) > number)  # noqa: B023
                assert recording.of("connection_lost")[-1].peer == client.getsockname()
                await until(lambda: shared.lost > number)  # noqa: B023
                client.close()

    with registered(RecordingPlugin()) as recording:
        run(main)


class TestTLS:
    @pytest.mark.parametrize("host", BOTH)
    @pytest.mark.parametrize(
        "kernel",
        [
            "helps",
            pytest.param("refuses", marks=pytest.mark.not_on_windows("has no IPV6_ADDRFORM")),
        ],
    )
    def test_every_name_is_canonical(self, run: Run, host: str, kernel: str, files: Files) -> None:
        theirs, ours = files.contexts
        seen: list[Any] = []

        async def main() -> None:
            async with await dual_stack.create_server(
                lambda: Echo(seen), None, 0, ssl=theirs
            ) as server:
                number = number_of(server)
                reader, writer = await dual_stack.open_connection(
                    host, number, ssl=ours, server_hostname="localhost"
                )
                writer.write(b"x")
                assert await reader.readexactly(1) == b"x"
                [[peername, sock_peername, sockname, sock_sockname]] = seen
                names = names_of(writer)
                assert names[0][:2] == (host, number)
                assert peername == sock_peername == names[2] == names[3]
                assert sockname == sock_sockname == names[0] == names[1]
                assert len(peername) == (4 if ":" in host else 2)
                assert writer.get_extra_info("ssl_object") is not None
                writer.close()

        def work() -> None:
            if kernel == "refuses":
                deny_option_in_this_thread(socket.IPPROTO_IPV6, IPV6_ADDRFORM, errno.ENOPROTOOPT)
            run(main)

        with ThreadPoolExecutor(1) as thread:
            thread.submit(work).result()

    def test_garbage_is_its_senders_trouble_alone(self, run: Run, files: Files) -> None:
        theirs, ours = files.contexts

        async def main() -> None:
            told: list[Any] = []
            asyncio.get_running_loop().set_exception_handler(
                lambda _, context: told.append(context)
            )
            seen: list[Any] = []
            async with await dual_stack.create_server(
                lambda: Echo(seen), None, 0, ssl=theirs
            ) as server:
                number = number_of(server)
                before = len(open_descriptors())
                for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(300), b"\x16\x03\x01"):
                    with socket.create_connection(("127.0.0.1", number)) as client:
                        client.sendall(garbage)
                        client.shutdown(socket.SHUT_WR)
                        client.settimeout(PATIENCE)
                        await asyncio.to_thread(drain, client)
                await until(lambda: len(open_descriptors()) <= before + 1)
                assert seen == []
                reader, writer = await dual_stack.open_connection(
                    "127.0.0.1", number, ssl=ours, server_hostname="localhost"
                )
                writer.write(b"x")
                assert await reader.readexactly(1) == b"x"
                writer.close()
            assert [c for c in told if not isinstance(c.get("exception"), OSError)] == []

        run(main)

    def test_what_has_ended_leaves_nothing_in_memory(self, run: Run, files: Files) -> None:
        class Closing(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                transport.close()

        theirs, ours = files.contexts

        def ask(number: int) -> None:
            for _ in range(150):
                with (
                    suppress(ConnectionError),
                    socket.create_connection(("127.0.0.1", number)) as client,
                    ours.wrap_socket(client, server_hostname="127.0.0.1") as asking,
                ):
                    asking.recv(1)

        def references() -> int:
            gc.collect()
            return sum(type(each) is ref for each in gc.get_objects())

        async def main() -> None:
            async with await dual_stack.create_server(Closing, None, 0, ssl=theirs) as server:
                before = references()
                await asyncio.to_thread(ask, number_of(server))
                assert references() < before + 110

        run(main)

    @pytest.mark.parametrize("host", BOTH)
    def test_it_can_be_started_later(self, run: Run, host: str, files: Files) -> None:
        theirs, ours = files.contexts
        seen: list[Any] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readline() == b"STARTTLS\n"
            writer.write(b"OK\n")
            await writer.start_tls(theirs)
            seen.append(names_of(writer))
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()

        async def main() -> None:
            async with await dual_stack.start_server(serve, None, 0) as server:
                reader, writer = await dual_stack.open_connection(host, number_of(server))
                writer.write(b"STARTTLS\n")
                assert await reader.readline() == b"OK\n"
                await writer.start_tls(ours, server_hostname="localhost")
                writer.write(b"secret\n")
                assert await reader.readline() == b"secret\n"
                names = names_of(writer)
                assert seen == [[*names[2:], *names[:2]]]
                assert names[0][:2] == (host, number_of(server))
                writer.close()

        run(main)


def drain(client: socket.socket) -> None:
    try:
        while client.recv(1000):
            pass
    except ConnectionResetError:
        pass


def test_a_file_is_sent_as_the_loop_sends_it(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = os.urandom(300_000)
    path.write_bytes(content)

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with path.open("rb") as file:
            try:
                await loop.sendfile(writer.transport, file)
            except NotImplementedError:
                # uvloop has none.
                writer.write(content)
        await writer.drain()
        writer.close()

    async def main() -> None:
        async with await dual_stack.start_server(serve, None, 0) as server:
            reader, writer = await dual_stack.open_connection("127.0.0.1", number_of(server))
            assert await reader.read() == content
            writer.close()

    run(main)


@pytest.mark.not_on_windows("has no RLIMIT_NOFILE")
@WHOSE
def test_without_a_descriptor_it_waits_and_does_not_spin(run: Run, make: Make) -> None:
    backlog = 5

    async def main() -> None:
        loop = asyncio.get_running_loop()
        told: list[Any] = []
        loop.set_exception_handler(lambda _, context: told.append(context))
        seen: list[Any] = []
        async with await make(lambda: Echo(seen), None, 0, backlog=backlog) as server:
            number = number_of(server)
            clients = [socket.socket(socket.AF_INET6) for _ in range(3)]
            start = time.monotonic()
            with none_left():
                for client in clients:
                    client.connect(("::1", number))
                await until(lambda: told)
                for _ in range(10):
                    await asyncio.sleep(0.02)
                assert seen == []
                # asyncio says it once for each connection that it was prepared to accept, and
                # tries again after a second.
                times = 1 + int(time.monotonic() - start + 0.1)
                assert 1 <= len(told) <= (backlog + 1) * times
                assert told[0]["exception"].errno == errno.EMFILE
            await until(lambda: len(seen) == 3)
            for client in clients:
                client.close()

    # uvloop's own closes the server.
    if make is dual_stack.create_server or "uvloop" not in repr(run):
        run(main)


@pytest.mark.parametrize("host", [*BOTH, "localhost"])
def test_the_programs_of_the_page(host: str, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "asyncio.md").read_text(encoding="utf-8")
    for name in ("echo_server.py", "echo_client.py"):
        _, _, rest = page.partition(f"```python {name}\n")
        (tmp_path / name).write_text(rest.partition("```")[0], encoding="utf-8")
    with running(tmp_path / "echo_server.py") as server:
        for _ in range(200):
            done = subprocess.run(
                [sys.executable, str(tmp_path / "echo_client.py"), host],
                capture_output=True,
                text=True,
                check=False,
            )
            # It listens soon.
            if "Connection refused" not in done.stderr:
                break
        said = done.stdout.split()
        assert said[:2] == ["b'hello\\n'", "from"], done.stderr
        assert said[2] in BOTH
        server.wait_for_log(f"from {said[2]}")
