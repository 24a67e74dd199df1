"""AnyIO on each of its back ends, beyond what the suite for adapters asks."""

from __future__ import annotations

import asyncio
import errno
import inspect
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import SocketAttribute, SocketListener, SocketStream
from anyio.streams.tls import TLSListener, TLSStream
from support.back_ends import BACK_ENDS
from support.certificates import Files
from support.early_peers import DEEDS, early_peer
from support.processes import PATIENCE, running_command
from support.programs import free_port, until, until_listening
from support.reactors import open_descriptors
from support.silent import silent
from support.windows import NO_REFUSALS

from dsadapter import hookimpl
from dsadapter.frameworks import anyio as dual_stack
from dsadapter.frameworks import get_framework
from dsadapter.policy import ConnectPolicy, DatagramPolicy, ListenPolicy
from dsadapter.testing import RecordingPlugin, registered

BOTH = ["127.0.0.1", "::1"]
Run = Callable[[Callable[[], Any]], Any]


@pytest.fixture(params=BACK_ENDS)
def run(request: pytest.FixtureRequest) -> Run:
    backend, options = BACK_ENDS[request.param]

    def running(body: Callable[[], Any]) -> Any:
        async def main() -> Any:
            with anyio.fail_after(PATIENCE):
                return await body()

        return anyio.run(main, backend=backend, backend_options=options)

    return running


def number_of(listener: Any) -> int:
    number: int = listener.extra(SocketAttribute.local_port)
    return number


@pytest.mark.parametrize("host", BOTH)
def test_after_a_peer_that_has_reset_the_next_is_waited_for(run: Run, host: str) -> None:
    async def main() -> None:
        async with await dual_stack.create_tcp_listener() as listeners:
            with early_peer(host, number_of(listeners), "resets"):
                with anyio.move_on_after(0.05) as scope:
                    await listeners.listeners[0].accept()
                assert scope.cancelled_caught

    run(main)


@pytest.mark.parametrize("deed", sorted({*DEEDS} - {"resets"}))
@pytest.mark.parametrize("host", BOTH)
def test_the_attributes_of_a_peer_agree(run: Run, host: str, deed: str) -> None:
    async def main() -> None:
        async with await dual_stack.create_tcp_listener() as listeners:
            [listener] = listeners.listeners
            assert isinstance(listener, SocketListener)
            with early_peer(host, number_of(listeners), deed) as peer:
                async with await listener.accept() as stream:
                    assert isinstance(stream, SocketStream)
                    raw = stream.extra(SocketAttribute.raw_socket)
                    assert stream.extra(SocketAttribute.remote_address) == peer.name[:2]
                    assert stream.extra(SocketAttribute.local_address) == peer.server[:2]
                    assert stream.extra(SocketAttribute.remote_port) == peer.name[1]
                    assert stream.extra(SocketAttribute.local_port) == peer.server[1]
                    assert raw.getpeername() == peer.name
                    assert raw.getsockname() == peer.server
                    family = socket.AF_INET6 if ":" in host else socket.AF_INET
                    assert stream.extra(SocketAttribute.family) == raw.family == family
                    assert await stream.receive() == b"request"
                    if deed != "closes":
                        await stream.send(b"answer")
                        assert peer.client.recv(6) == b"answer"

    run(main)


def test_two_sockets_have_one_port_number(run: Run) -> None:
    async def main() -> None:
        async with await dual_stack.create_tcp_listener(local_host="localhost") as listeners:
            addresses = [each.extra(SocketAttribute.local_address) for each in listeners.listeners]
            assert [address[0] for address in addresses] == BOTH
            assert len({address[1] for address in addresses}) == 1

    run(main)


@pytest.mark.parametrize("host", ["127.0.0.1", "::ffff:127.0.0.1", "::1"])
def test_tls(run: Run, host: str, tmp_path: Path) -> None:
    serving, trusting = Files.written_to(tmp_path).contexts
    seen: list[Any] = []

    async def main() -> None:
        async def serve(stream: Any) -> None:
            async with stream:
                seen.append(stream.extra(SocketAttribute.remote_address))
                await stream.send(b"secret")

        async with anyio.create_task_group() as group:
            plain: Any = await dual_stack.create_tcp_listener()
            listener = TLSListener(plain, serving)
            group.start_soon(listener.serve, serve)
            async with await dual_stack.connect_tcp(
                host, number_of(plain), ssl_context=trusting
            ) as stream:
                assert isinstance(stream, TLSStream)
                assert await stream.receive() == b"secret"
                assert seen == [stream.extra(SocketAttribute.local_address)]
            group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await listener.aclose()

    run(main)
    assert "::ffff:" not in repr(seen)


def test_closing_wakes_who_waits(run: Run) -> None:
    async def main() -> None:
        async def waiting(function: Any) -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await function()

        before = open_descriptors()
        listener = await dual_stack.create_tcp_listener()
        sock = await dual_stack.create_udp_socket()
        async with anyio.create_task_group() as group:
            group.start_soon(waiting, listener.listeners[0].accept)
            group.start_soon(waiting, sock.receive)
            await anyio.wait_all_tasks_blocked()
            await listener.aclose()
            await sock.aclose()
        for function in (listener.listeners[0].accept, sock.receive):
            await waiting(function)
        await waiting(lambda: sock.sendto(b"x", "127.0.0.1", 9))
        assert len(open_descriptors()) <= len(before) + 2

    run(main)


@pytest.mark.parametrize("options", [{}, {"proxy_from": BOTH}], ids=["plain", "proxied"])
def test_who_is_cancelled_in_the_turn_in_which_it_wakes_is_just_that(
    run: Run, options: dict[str, Any]
) -> None:
    """Whoever serves closes the listener as soon as it has cancelled the tasks that accept."""

    async def main() -> None:
        async def accept(listener: Any) -> None:
            async with await listener.accept():
                pass

        for turns in range(4):
            listener = await dual_stack.create_tcp_listener(**options)
            async with anyio.create_task_group() as group:
                group.start_soon(accept, listener.listeners[0])
                await anyio.wait_all_tasks_blocked()
                with socket.create_connection(("127.0.0.1", number_of(listener))):
                    for _ in range(turns):
                        await anyio.lowlevel.checkpoint()
                    group.cancel_scope.cancel()
                    with anyio.CancelScope(shield=True):
                        await listener.aclose()

    run(main)


def test_cancelling_leaves_nothing_open(run: Run) -> None:
    async def main() -> None:
        with silent("127.0.0.1") as port:
            for spare in (3, 0):
                # A loop keeps what it opens at first use.
                most = len(open_descriptors()) + spare
                with anyio.move_on_after(0.05) as scope:
                    await dual_stack.connect_tcp("127.0.0.1", port)
                assert scope.cancelled_caught
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await dual_stack.create_tcp_listener()
                assert scope.cancelled_caught
                await anyio.lowlevel.checkpoint()
                assert len(open_descriptors()) <= most

    run(main)


@pytest.mark.parametrize("back_end", sorted({*BACK_ENDS} - {"trio"}))
def test_who_cancels_the_tasks_of_a_connect_ends_it(back_end: str) -> None:
    """Under Trio nobody can."""

    async def main() -> None:
        own = asyncio.current_task()

        async def cancel_the_others() -> None:
            # AnyIO warns of a task that never began.
            await asyncio.sleep(0)
            for task in asyncio.all_tasks() - {own, asyncio.current_task()}:
                task.cancel()

        with silent("127.0.0.9") as port:
            before = open_descriptors()
            canceller = asyncio.get_running_loop().create_task(cancel_the_others())
            with pytest.raises(OSError, match="tasks were cancelled") as caught:
                await dual_stack.connect_tcp("127.0.0.9", port)
            assert caught.value.errno == errno.ECANCELED
            await canceller
            assert open_descriptors() <= before

    anyio.run(main, backend_options=BACK_ENDS[back_end][1])


def test_the_story_of_a_failure(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(ConnectionRefusedError, match=r"127\.0\.0\.1:1 ") as caught:
            await dual_stack.connect_tcp("::ffff:127.0.0.1", 1)
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)
        with pytest.raises(OSError, match=r"local_host '?127"):
            await dual_stack.connect_tcp("::1", 1, local_host="127.0.0.1")

    run(main)


@pytest.mark.not_on_windows(NO_REFUSALS)
def test_a_connected_socket_hears_of_refusals_and_goes_on(run: Run) -> None:
    async def main() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.1", 0))
            number = peer.getsockname()[1]
        async with await dual_stack.create_connected_udp_socket("::ffff:127.0.0.1", number) as sock:
            assert sock.extra(SocketAttribute.remote_address) == ("127.0.0.1", number)
            await sock.send(b"to nobody")
            with pytest.raises(anyio.BrokenResourceError):
                await sock.receive()
            with socket.socket(type=socket.SOCK_DGRAM) as peer:
                peer.bind(("127.0.0.1", number))
                peer.settimeout(PATIENCE)
                await sock.send(b"again")
                assert peer.recv(100) == b"again"
                peer.sendto(b"heard", ("127.0.0.1", number_of(sock)))
                assert await sock.receive() == b"heard"

    run(main)


def test_plugins_are_told_once(run: Run) -> None:
    async def main() -> None:
        adapter = get_framework("anyio")
        listener = await adapter.server(None, ListenPolicy("::", 0))()
        target = "127.0.0.1", number_of(listener)
        client = await adapter.client(None, target, ConnectPolicy())()
        server = await listener.listeners[0].accept()
        for each in (server, server, client, listener, listener):
            await each.aclose()
        sock = await adapter.datagram(None, DatagramPolicy("::", 0))()
        await sock.aclose()

    with registered(RecordingPlugin()) as recording:
        run(main)
    told = [event.hook for event in recording.events]
    assert sorted(told) == sorted(
        ["before_bind", "listener_opened", "listener_closed"] * 2
        + ["before_connect"]
        + ["connection_made", "connection_lost"] * 2
    )
    assert {record.framework for record in recording.of("connection_made")} == {"anyio"}


def test_a_plugin_that_refuses_is_a_PermissionError(run: Run) -> None:
    class Guard:
        @hookimpl
        def dsadapter_before_bind(self) -> None:
            raise PermissionError("not here")

        @hookimpl
        def dsadapter_before_connect(self) -> None:
            raise PermissionError("not there")

    async def main() -> None:
        for listening in (dual_stack.create_tcp_listener, dual_stack.create_udp_socket):
            with pytest.raises(PermissionError, match="not here"):
                await listening()
        with pytest.raises(PermissionError, match="not there"):
            await dual_stack.connect_tcp("127.0.0.1", 9)

    with registered(Guard()):
        run(main)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: dual_stack.create_tcp_listener(local_host="a.test"), "local_host 'a.test'"),
        (lambda: dual_stack.create_tcp_listener(local_port=70000), "local_port 70000"),
        (lambda: dual_stack.create_udp_socket(local_port=70000), "local_port 70000"),
        (lambda: dual_stack.create_tcp_listener(family=99), "family 99 is none of"),
        (lambda: dual_stack.connect_tcp("::1", 80, local_host="nowhere"), "local_host"),
        (lambda: dual_stack.connect_tcp("::1", 80, happy_eyeballs_delay=0), "happy_eyeballs_delay"),
        (lambda: dual_stack.create_udp_socket(reuse_port=True), "leave it out"),
    ],
)
def test_what_is_wrong_is_named_as_it_was_typed(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        anyio.run(call)


@pytest.mark.parametrize(
    ("name", "extras"),
    [
        ("create_tcp_listener", {"fallback", "device", "proxy_from", "proxy_timeout"}),
        ("connect_tcp", {"mapped_addresses", "remember_outcomes"}),
        ("create_udp_socket", {"max_packet_size", "fallback", "device"}),
        ("create_connected_udp_socket", {"max_packet_size", "fallback", "device"}),
    ],
)
def test_the_signatures_are_those_of_the_installed_AnyIO(name: str, extras: set[str]) -> None:
    ours = inspect.signature(getattr(dual_stack, name)).parameters
    theirs = inspect.signature(getattr(anyio, name)).parameters
    # Newer than the oldest that will do.
    extras |= {"local_port"} - set(theirs) if name == "connect_tcp" else set()
    assert set(ours) - set(theirs) == extras
    assert {ours[extra].kind for extra in extras} == {inspect.Parameter.KEYWORD_ONLY}
    assert [
        (each.name, each.kind, each.default) for each in ours.values() if each.name not in extras
    ] == [(each.name, each.kind, each.default) for each in theirs.values()]


def test_what_to_install_is_said() -> None:
    program = (
        "import sys; sys.modules['anyio'] = None\n"
        "try:\n    from dsadapter.frameworks.anyio import connect_tcp\n"
        "except ImportError as error:\n    print(error)"
    )
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == "anyio is not installed; install 'dsadapter[anyio]'\n"


@pytest.mark.not_on_windows("looks for a listener by ss")
@pytest.mark.parametrize("host", BOTH)
def test_the_program_of_the_page(host: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "anyio.md").read_text(encoding="utf-8")
    port = free_port()
    program = page.split("```python\n")[1].split("```")[0].replace("8080", str(port))
    with running_command([sys.executable, "-u", "-c", program]) as server:
        until_listening(port, server)
        with socket.create_connection((host, port), timeout=PATIENCE) as client:
            client.sendall(b"there and back")
            assert client.recv(100) == b"there and back"
            until(lambda: f"hello, {client.getsockname()[:2]}" in server.log(), server)
