"""``proxy_from`` under Trio and AnyIO: the client's names everywhere, over TLS too."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSListener
from support.back_ends import BACK_ENDS
from support.certificates import Files
from support.processes import PATIENCE
from support.proxy_headers import LOCAL, version_1, version_2
from support.reactors import open_descriptors
from support.windows import no_trio

import dsadapter.frameworks.anyio as dual_anyio
import dsadapter.frameworks.trio as dual_trio
from dsadapter.testing import RecordingPlugin, registered

LOOPBACK = ["127.0.0.0/8", "::1"]
MAPPED = "::ffff:192.0.2.1", "::ffff:198.51.100.1"
IPV4 = ("192.0.2.1", 4000), ("198.51.100.1", 80)
IPV6 = ("2001:db8::1", 4000), ("2001:db8::80", 80)


class Served:
    """An echo server, and what it shows of its connections."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.shown: list[list[Any]] = []


Client = Callable[[Served], None]
Serve = Callable[..., Served]


async def in_a_thread(client: Client, served: Served) -> None:
    await anyio.to_thread.run_sync(client, served)


def by_trio(client: Client, tls: ssl.SSLContext | None = None, **options: Any) -> Served:
    async def main() -> Served:
        async def echo(stream: Any) -> None:
            sock = getattr(stream, "transport_stream", stream).socket
            async with stream:
                served.shown.append([sock.getpeername(), sock.getsockname(), repr(sock)])
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(await stream.receive_some(100))

        listeners: Any = await dual_trio.open_tcp_listeners(
            0, **{"proxy_from": LOOPBACK, **options}
        )
        served = Served(listeners[0].socket.getsockname()[1])
        if tls is not None:
            listeners = [trio.SSLListener(each, tls, https_compatible=True) for each in listeners]
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, echo, listeners)
            await in_a_thread(client, served)
            nursery.cancel_scope.cancel()
        for each in listeners:
            await trio.aclose_forcefully(each)
        return served

    return trio.run(main)


def by_anyio(backend: str, backend_options: dict[str, Any]) -> Serve:
    def serve(client: Client, tls: ssl.SSLContext | None = None, **options: Any) -> Served:
        async def main() -> Served:
            async def echo(stream: Any) -> None:
                raw = stream.extra(SocketAttribute.raw_socket)
                async with stream:
                    peer, local = raw.getpeername(), raw.getsockname()
                    assert stream.extra(SocketAttribute.remote_address)[:2] == peer[:2]
                    assert stream.extra(SocketAttribute.remote_port) == peer[1]
                    assert stream.extra(SocketAttribute.local_address)[:2] == local[:2]
                    assert stream.extra(SocketAttribute.local_port) == local[1]
                    served.shown.append([peer, local, repr(raw)])
                    with contextlib.suppress(anyio.BrokenResourceError, anyio.EndOfStream):
                        await stream.send(await stream.receive(100))

            listener: Any = await dual_anyio.create_tcp_listener(
                **{"proxy_from": LOOPBACK, **options}
            )
            served = Served(listener.listeners[0].extra(SocketAttribute.local_port))
            if tls is not None:
                listener = TLSListener(listener, tls, standard_compatible=False)
            async with anyio.create_task_group() as tasks, listener:
                tasks.start_soon(listener.serve, echo)
                await in_a_thread(client, served)
                tasks.cancel_scope.cancel()
            return served

        return anyio.run(main, backend=backend, backend_options=backend_options)

    return serve


WAYS = [
    pytest.param(by_trio, id="trio", marks=no_trio),
    *(pytest.param(by_anyio(*made), id=f"anyio on {name}") for name, made in BACK_ENDS.items()),
]


@pytest.fixture(params=WAYS)
def serve(request: pytest.FixtureRequest) -> Serve:
    made: Serve = request.param
    return made


def connected(served: Served, sent: bytes, proxy: str = "127.0.0.1") -> socket.socket:
    client = socket.create_connection((proxy, served.port), PATIENCE)
    client.sendall(sent)
    return client


def ended(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("proxy", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(
    ("header", "names"),
    [
        (version_1(*MAPPED), IPV4),
        (version_2(*MAPPED), IPV4),
        (version_2("2001:db8::1", "2001:db8::80"), IPV6),
        (LOCAL, None),
    ],
    ids=["v1-mapped", "v2-mapped", "v2-inet6", "v2-local"],
)
def test_the_names_are_the_clients(serve: Serve, header: bytes, names: Any, proxy: str) -> None:
    own: list[Any] = []

    def client(served: Served) -> None:
        with connected(served, header[:5], proxy) as sock:
            own.append((sock.getsockname()[:2], sock.getpeername()[:2]))
            sock.sendall(header[5:] + b"request")
            assert sock.recv(100) == b"request"

    [[peer, local, text]] = serve(client).shown
    assert (peer[:2], local[:2]) == (names or own[0])
    assert "::ffff:" not in text


def test_a_slow_proxy_keeps_nobody_waiting(serve: Serve) -> None:
    def client(served: Served) -> None:
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(connected(served, b"PROXY TCP4 ")) for _ in range(5)]
            with connected(served, version_2("192.0.2.7", "192.0.2.8") + b"x") as fast:
                assert fast.recv(10) == b"x"
            for each in slow:
                each.sendall(b"192.0.2.1 198.51.100.1 4000 80\r\ny")
                assert each.recv(10) == b"y"

    shown = serve(client).shown
    assert [peer[0] for peer, _, _ in shown] == ["192.0.2.7", *["192.0.2.1"] * 5]


def test_what_is_late_strange_or_no_header_is_closed(serve: Serve) -> None:
    def client(served: Served) -> None:
        with (
            connected(served, b"PROXY ") as late,
            connected(served, b"GET / HTTP/1.0\r\n\r\n") as malformed,
            connected(served, version_1(*MAPPED), "::1") as stranger,
        ):
            assert ended(late)
            assert ended(malformed)
            assert ended(stranger)

    with registered(RecordingPlugin()) as plugin:
        assert serve(client, proxy_from=["127.0.0.1"], proxy_timeout=0.2).shown == []
    reasons = " ".join(refusal.reason for refusal in plugin.of("operation_refused"))
    assert "no whole PROXY header came within 0.2 s" in reasons
    assert "it is none of proxy_from" in reasons
    assert not plugin.of("connection_made")


def test_plugins_are_told_of_the_client(serve: Serve) -> None:
    def client(served: Served) -> None:
        with connected(served, version_2(*MAPPED) + b"x") as sock:
            assert sock.recv(10) == b"x"
            assert ended(sock)

    with registered(RecordingPlugin()) as plugin:
        serve(client)
    [connection] = plugin.of("connection_made")
    assert (connection.peer, connection.local) == IPV4
    assert connection.proxy[0] == "127.0.0.1"
    assert plugin.of("connection_lost") == [connection]


def test_the_header_comes_before_TLS(serve: Serve, tmp_path: Path) -> None:
    context, trust = Files.written_to(tmp_path).contexts

    def client(served: Served) -> None:
        with (
            connected(served, version_2(*MAPPED)) as sock,
            trust.wrap_socket(sock, server_hostname="localhost") as wrapped,
        ):
            wrapped.sendall(b"request")
            assert wrapped.recv(100) == b"request"

    [[peer, local, _]] = serve(client, context).shown
    assert (peer, local) == IPV4


def test_closing_leaves_nothing(serve: Serve) -> None:
    clients: list[socket.socket] = []

    def client(served: Served) -> None:
        clients.append(connected(served, b"PROXY "))
        with connected(served, LOCAL + b"x") as sock:
            assert sock.recv(1) == b"x"

    # What the loops keep for themselves is there by then.
    serve(client)
    clients.pop().close()
    before, threads = open_descriptors(), set(threading.enumerate())
    serve(client)
    with clients.pop() as waiting:
        assert ended(waiting)
    assert open_descriptors() <= before
    # The loops keep a few.
    assert len(set(threading.enumerate()) - threads) < 10


@no_trio
def test_a_listening_trio_socket_keeps_its_descriptor() -> None:
    async def main() -> None:
        [listener] = await dual_trio.open_tcp_listeners(0, proxy_from=LOOPBACK)
        async with listener:
            for leave in (listener.socket.detach, listener.socket.dup):
                with pytest.raises(OSError, match="keeps its descriptor"):
                    leave()
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()

    trio.run(main)
