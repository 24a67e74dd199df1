"""Streams under Trio: every name is canonical, whatever the peer does; a cancel leaves nothing."""

from __future__ import annotations

import errno
import inspect
import math
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trio
from support.certificates import Files
from support.early_peers import DEEDS, early_peer
from support.processes import PATIENCE, running_command
from support.programs import free_port, until, until_listening
from support.reactors import open_descriptors
from support.seccomp import deny_option_in_this_thread
from support.silent import silent
from support.windows import no_trio

from dsadapter import hookimpl
from dsadapter.frameworks import get_framework
from dsadapter.frameworks import trio as dual_stack
from dsadapter.policy import ConnectPolicy, ListenPolicy
from dsadapter.testing import RecordingPlugin, registered

pytestmark = no_trio

IPV6_ADDRFORM = 1
BOTH = ["127.0.0.1", "::1"]
LISTENING = {"family", "fallback", "device", "proxy_from", "proxy_timeout"}
CONNECTING = {"mapped_addresses", "remember_outcomes"}


def run(body: Callable[[], Any]) -> Any:
    async def main() -> Any:
        with trio.fail_after(PATIENCE):
            return await body()

    return trio.run(main)


def number_of(listeners: Any) -> int:
    number: int = listeners[0].socket.getsockname()[1]
    return number


async def close(*resources: Any) -> None:
    for resource in resources:
        await resource.aclose()


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("host", BOTH)
@pytest.mark.parametrize("interface", [None, "", b"::", "0::0", "localhost"])
def test_a_server_sees_its_peer_as_it_is(host: str, interface: Any, observed: bool) -> None:
    async def main() -> None:
        listeners = await dual_stack.open_tcp_listeners(0, host=interface)
        assert {type(listener) for listener in listeners} == {trio.SocketListener}
        number = number_of(listeners)
        client = await dual_stack.open_tcp_stream(host, number)
        assert type(client) is trio.SocketStream
        if len(listeners) == 2:
            [own] = [each for each in listeners if each.socket.getsockname()[0] == host]
        else:
            [own] = listeners
        server = await own.accept()
        assert client.socket.getpeername()[:2] == (host, number)
        assert server.socket.getpeername() == client.socket.getsockname()
        assert server.socket.getsockname() == client.socket.getpeername()
        assert len(server.socket.getpeername()) == (4 if ":" in host else 2)
        assert "::ffff:" not in f"{server.socket!r}{client.socket!r}"
        await client.send_all(b"there")
        assert await server.receive_some(5) == b"there"
        await server.send_eof()
        assert await client.receive_some() == b""
        await close(client, server, *listeners)

    if observed:
        with registered(RecordingPlugin()):
            run(main)
    else:
        run(main)


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("host", BOTH)
def test_a_peer_that_leaves_before_it_is_accepted_chooses_no_name(host: str, deed: str) -> None:
    async def main() -> None:
        listeners = await dual_stack.open_tcp_listeners(0)
        with early_peer(host, number_of(listeners), deed) as peer:
            stream = await listeners[0].accept()
            assert stream.socket.getsockname() == peer.server
            if deed == "resets":
                with pytest.raises(OSError):
                    stream.socket.getpeername()
            else:
                assert stream.socket.getpeername() == peer.name
                assert await stream.receive_some() == b"request"
                if deed != "closes":
                    await stream.send_all(b"answer")
                    peer.client.settimeout(PATIENCE)
                    assert peer.client.recv(6) == b"answer"
            assert "::ffff:" not in repr(stream.socket)
            await close(stream, *listeners)

    run(main)


def test_a_server_that_greets_and_closes_at_once_is_never_mapped() -> None:
    names: list[Any] = []

    async def main() -> None:
        async def greet(stream: trio.SocketStream) -> None:
            await stream.send_all(b"bye")
            await stream.aclose()

        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(dual_stack.serve_tcp, greet, 0)
            for _ in range(100):
                stream = await dual_stack.open_tcp_stream("127.0.0.1", number_of(listeners))
                names.append(stream.socket.getpeername())
                assert await stream.receive_some() == b"bye"
                await stream.aclose()
            nursery.cancel_scope.cancel()

    run(main)
    assert len(names) == 100
    assert {name[0] for name in names} == {"127.0.0.1"}


@pytest.mark.parametrize("host", ["127.0.0.1", "::ffff:127.0.0.1", "::1"])
def test_tls(host: str, tmp_path: Path) -> None:
    serving, trusting = Files.written_to(tmp_path).contexts
    seen: list[Any] = []

    async def main() -> None:
        async def serve(stream: Any) -> None:
            async with stream:
                seen.append(stream.transport_stream.socket.getpeername())
                await stream.send_all(b"secret")

        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(dual_stack.serve_ssl_over_tcp, serve, 0, serving)
            number = number_of([listeners[0].transport_listener])
            stream = await dual_stack.open_ssl_over_tcp_stream(
                host, number, ssl_context=trusting, https_compatible=True
            )
            assert await stream.receive_some() == b"secret"
            assert seen == [stream.transport_stream.socket.getsockname()]
            await stream.aclose()
            nursery.cancel_scope.cancel()

    run(main)
    assert "::ffff:" not in repr(seen)


def test_a_silent_address_does_not_hold_up_the_next() -> None:
    async def main() -> None:
        with silent("::1") as port:
            listeners = await dual_stack.open_tcp_listeners(port, host="127.0.0.1")
            trio.socket.set_custom_hostname_resolver(Resolver("::1", "127.0.0.1"))
            stream = await dual_stack.open_tcp_stream("server.test", port)
            assert stream.socket.getpeername() == ("127.0.0.1", port)
            await close(stream, *listeners)

    run(main)


class Resolver(trio.abc.HostnameResolver):
    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def getaddrinfo(self, host: Any, port: Any, *_: Any) -> list[Any]:
        await trio.lowlevel.checkpoint()
        if host == "waits.test":
            await trio.sleep_forever()
        families = {":": trio.socket.AF_INET6, ".": trio.socket.AF_INET}
        return [
            (families[":" if ":" in each else "."], trio.socket.SOCK_STREAM, 6, "", (each, port))
            if "." in each
            else (trio.socket.AF_INET6, trio.socket.SOCK_STREAM, 6, "", (each, port, 0, 0))
            for each in self.addresses
        ]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


@pytest.mark.parametrize("delay", [None, math.inf, 3, 100.0])
def test_a_longer_delay_than_any_is_the_longest(delay: float | None) -> None:
    async def main() -> None:
        listeners = await dual_stack.open_tcp_listeners(0)
        stream = await dual_stack.open_tcp_stream(
            "127.0.0.1", number_of(listeners), happy_eyeballs_delay=delay
        )
        await close(stream, *listeners)

    run(main)


def test_the_story_of_every_attempt() -> None:
    async def main() -> None:
        trio.socket.set_custom_hostname_resolver(Resolver("::1", "127.0.0.1"))
        with pytest.raises(ConnectionRefusedError, match=r"::1.*127\.0\.0\.1") as caught:
            await dual_stack.open_tcp_stream("server.test", 1)
        cause = caught.value.__cause__
        assert isinstance(cause, ExceptionGroup)
        assert [type(each) for each in cause.exceptions] == [ConnectionRefusedError] * 2

    run(main)


def test_a_local_address_leaves_the_other_family_out_and_says_so() -> None:
    async def main() -> None:
        trio.socket.set_custom_hostname_resolver(Resolver("::1", "127.0.0.1"))
        listeners = await dual_stack.open_tcp_listeners(0)
        stream = await dual_stack.open_tcp_stream(
            "server.test", number_of(listeners), local_address="127.0.0.2"
        )
        assert stream.socket.getsockname()[0] == "127.0.0.2"
        await close(stream, *listeners)
        with pytest.raises(OSError, match=r"local_address '?127\.0\.0\.2"):
            await dual_stack.open_tcp_stream("::1", 1, local_address="127.0.0.2")

    run(main)


def test_cancelling_leaves_nothing_open() -> None:
    async def connecting(host: str, port: int) -> None:
        with trio.move_on_after(0.05) as scope:
            await dual_stack.open_tcp_stream(host, port)
        assert scope.cancelled_caught

    async def main() -> None:
        trio.socket.set_custom_hostname_resolver(Resolver("::1", "127.0.0.1"))
        with silent(*BOTH) as port:
            before = open_descriptors()
            await connecting("server.test", port)
            await connecting("127.0.0.1", port)
            # Two wait for one answer; the first to go leaves it to the other.
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connecting, "waits.test", port)
                nursery.start_soon(connecting, "waits.test", port)
            with trio.CancelScope() as scope:
                scope.cancel()
                await dual_stack.open_tcp_listeners(0)
            with trio.move_on_after(0.05):
                await dual_stack.serve_tcp(lambda stream: stream.aclose(), 0, host="localhost")
            assert open_descriptors() <= before

    run(main)


def test_every_call_is_a_checkpoint() -> None:
    async def main() -> None:
        listeners = await dual_stack.open_tcp_listeners(0)
        number = number_of(listeners)

        async def listen() -> None:
            await close(*await dual_stack.open_tcp_listeners(0))

        async def connect() -> None:
            await close(await dual_stack.open_tcp_stream("127.0.0.1", number))

        for function in (listen, connect):
            with trio.testing.assert_checkpoints():
                await function()
        await close(*listeners)

    import trio.testing

    run(main)


def test_plugins_are_told_once() -> None:
    async def main() -> None:
        listeners = await dual_stack.open_tcp_listeners(0)
        client = await dual_stack.open_tcp_stream("127.0.0.1", number_of(listeners))
        server = await listeners[0].accept()
        assert isinstance(server.socket, trio.socket.SocketType)
        await close(server, server, client, *listeners, *listeners)

    with registered(RecordingPlugin()) as recording:
        run(main)
    told = [event.hook for event in recording.events]
    assert sorted(told) == sorted(
        ["before_bind", "listener_opened", "before_connect", "listener_closed"]
        + ["connection_made", "connection_lost"] * 2
    )
    records = recording.of("connection_made")
    assert {record.direction for record in records} == {"inbound", "outbound"}
    assert {record.framework for record in records} == {"trio"}
    assert {record.peer[0] for record in records} == {"127.0.0.1"}
    assert set(map(id, records)) == set(map(id, recording.of("connection_lost")))


def test_a_duplicate_lives_on() -> None:
    async def main() -> None:
        listeners = await dual_stack.open_tcp_listeners(0)
        client = await dual_stack.open_tcp_stream("127.0.0.1", number_of(listeners))
        server = await listeners[0].accept()
        with server.socket.dup() as duplicate:
            await server.aclose()
            assert duplicate.getpeername() == client.socket.getsockname()
            assert not recording.of("connection_lost")
        assert len(recording.of("connection_lost")) == 1
        await close(client, *listeners)

    with registered(RecordingPlugin()) as recording:
        run(main)


def test_a_plugin_that_refuses_is_a_PermissionError() -> None:
    class Guard:
        @hookimpl
        def dsadapter_before_bind(self) -> None:
            raise PermissionError("not here")

        @hookimpl
        def dsadapter_before_connect(self) -> None:
            raise PermissionError("not there")

    async def main() -> None:
        with pytest.raises(PermissionError, match="not here"):
            await dual_stack.open_tcp_listeners(0)
        with pytest.raises(PermissionError, match="not here"):
            await dual_stack.open_udp_socket()
        with pytest.raises(PermissionError, match="not there"):
            await dual_stack.open_tcp_stream("127.0.0.1", 9)

    with registered(Guard()):
        run(main)


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")
def test_a_kernel_that_keeps_the_form_changes_no_name() -> None:
    async def main() -> None:
        listeners = await dual_stack.open_tcp_listeners(0)
        client = await dual_stack.open_tcp_stream("127.0.0.1", number_of(listeners))
        server = await listeners[0].accept()
        assert server.socket.family == client.socket.family == trio.socket.AF_INET6
        assert server.socket.getpeername() == client.socket.getsockname()
        assert server.socket.getsockname() == client.socket.getpeername()
        await close(server, client, *listeners)

    def refused() -> None:
        deny_option_in_this_thread(socket.IPPROTO_IPV6, IPV6_ADDRFORM, errno.ENOPROTOOPT)
        run(main)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(refused).result()


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda: dual_stack.open_tcp_listeners("80"), TypeError, "port must be an int"),  # type: ignore[arg-type]
        (lambda: dual_stack.open_tcp_listeners(70000), ValueError, "port 70000"),
        (lambda: dual_stack.open_tcp_listeners(0, backlog="9"), TypeError, "backlog must be"),  # type: ignore[arg-type]
        (lambda: dual_stack.open_tcp_listeners(0, host="server.test"), ValueError, "server.test"),
        (lambda: dual_stack.open_tcp_stream(None, 80), ValueError, "host cannot be None"),  # type: ignore[arg-type]
        (lambda: dual_stack.open_tcp_stream("::1", "80"), TypeError, "port must be an int"),  # type: ignore[arg-type]
        (
            lambda: dual_stack.open_tcp_stream("::1", 80, local_address="nowhere"),
            ValueError,
            "local_address 'nowhere' is not an address literal",
        ),
        (
            lambda: dual_stack.open_tcp_stream("::1", 80, happy_eyeballs_delay=0),
            ValueError,
            "happy_eyeballs_delay 0",
        ),
    ],
)
def test_what_is_wrong_is_named_as_it_was_typed(
    call: Callable[[], Any], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        run(call)


@pytest.mark.parametrize(
    ("name", "extras"),
    [
        ("open_tcp_listeners", LISTENING),
        ("serve_tcp", LISTENING),
        ("open_ssl_over_tcp_listeners", LISTENING),
        ("serve_ssl_over_tcp", LISTENING),
        ("open_tcp_stream", CONNECTING),
        ("open_ssl_over_tcp_stream", CONNECTING),
    ],
)
def test_the_signatures_are_those_of_the_installed_Trio(name: str, extras: set[str]) -> None:
    ours = inspect.signature(getattr(dual_stack, name)).parameters
    theirs = inspect.signature(getattr(trio, name)).parameters
    assert set(ours) - set(theirs) == extras
    assert {ours[extra].kind for extra in extras} == {inspect.Parameter.KEYWORD_ONLY}
    assert [
        (each.name, each.kind, each.default) for each in ours.values() if each.name not in extras
    ] == [(each.name, each.kind, each.default) for each in theirs.values()]


def test_the_registry_has_it() -> None:
    adapter = get_framework("trio")

    async def main() -> None:
        listeners = await adapter.server(None, ListenPolicy("::", 0))()
        target = "127.0.0.1", number_of(listeners)
        stream = await adapter.client(None, target, ConnectPolicy())()
        await close(stream, *listeners)

    run(main)


def test_nothing_else_is_imported() -> None:
    program = (
        "import sys; from dsadapter.frameworks.trio import serve_tcp;"
        "print([name for name in ('asyncio', 'twisted', 'anyio') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_what_to_install_is_said() -> None:
    program = (
        "import sys; sys.modules['trio'] = None\n"
        "try:\n    from dsadapter.frameworks.trio import serve_tcp\n"
        "except ImportError as error:\n    print(error)"
    )
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == "trio is not installed; install 'dsadapter[trio]'\n"


class TestTheGuide:
    """The programs of the page run as they stand."""

    def program(self, number: int) -> str:
        page = Path(__file__).parents[2] / "docs" / "trio.md"
        return page.read_text(encoding="utf-8").split("```python\n")[number].split("```")[0]

    @pytest.mark.parametrize("host", BOTH)
    def test_the_server(self, host: str) -> None:
        port = free_port()
        program = self.program(1).replace("8080", str(port))
        with running_command([sys.executable, "-u", "-c", program]) as server:
            until_listening(port, server)
            with socket.create_connection((host, port), timeout=PATIENCE) as client:
                client.sendall(b"there and back")
                assert client.recv(100) == b"there and back"
                server.wait_for_log(f"hello, {client.getsockname()}")

    @pytest.mark.parametrize("host", BOTH)
    def test_the_datagrams(self, host: str) -> None:
        port = free_port()
        program = self.program(2).replace("8053", str(port))
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with running_command([sys.executable, "-c", program]) as server:
            with socket.socket(family, socket.SOCK_DGRAM) as client:
                client.connect((host, port))
                client.settimeout(0.1)
                until(lambda: answered(client), server)


def answered(client: socket.socket) -> bool:
    try:
        client.send(b"anybody?")
        return client.recv(100) == b"anybody?"
    except OSError:
        return False
