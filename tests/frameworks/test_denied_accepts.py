"""An accept that the system denies for good: servers whose own loops would ask in every turn say
so, wait, and serve when they may."""

from __future__ import annotations

import errno
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
from support.faults import Faults
from support.namespaces import needs_root
from support.processes import PATIENCE

from dsadapter.frameworks import trio as trio_dual_stack
from dsadapter.frameworks.blocking import DualStackMixin
from dsadapter.rate_limit import RateLimit
from dsadapter.sockets import failing_accepts
from dsadapter.sockets.listening import listening_socket

pytestmark = [pytest.mark.not_on_windows("has no seccomp"), needs_root]

HEADER = b"PROXY TCP4 192.0.2.7 192.0.2.8 7000 80\r\n"
NEARLY = 0.1
BEHIND_PROXIES = pytest.mark.parametrize("proxied", [False, True], ids=["plain", "proxied"])


@pytest.fixture(autouse=True)
def first_of_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    # Another test may have had it logged less than a minute ago.
    monkeypatch.setattr(failing_accepts, "_limit", RateLimit())


def accepts_again(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [m for m in map(logging.LogRecord.getMessage, caplog.records) if "accepts again" in m]


def most(start: float) -> int:
    """How often a server may have asked: twice a second."""
    return 2 * (1 + int(time.monotonic() - start + NEARLY))


@BEHIND_PROXIES
def test_trio(caplog: pytest.LogCaptureFixture, proxied: bool) -> None:
    faults = Faults("accept4")
    options: Any = {"proxy_from": ["127.0.0.1"]} if proxied else {}

    async def serve(stream: trio.SocketStream) -> None:
        await stream.send_all(b"served")

    async def main() -> bytes:
        async with trio.open_nursery() as nursery:
            serving = partial(trio_dual_stack.serve_tcp, serve, 0, **options)
            [listener] = await nursery.start(serving)
            faults.always("accept4", errno.EPERM)
            start = time.monotonic()
            async with await trio.open_tcp_stream(
                "127.0.0.1", listener.socket.getsockname()[1]
            ) as client:
                while not faults.asked["accept4"]:
                    await trio.sleep(0.01)
                for _ in range(20):
                    await trio.sleep(0.01)
                assert faults.asked["accept4"] <= most(start)
                faults.heal()
                if proxied:
                    await client.send_all(HEADER)
                answer = await client.receive_some()
            nursery.cancel_scope.cancel()
        return bytes(answer)

    async def in_time() -> bytes:
        with trio.fail_after(PATIENCE):
            return await main()

    assert faults.run(lambda: trio.run(in_time)) == b"served"
    assert len(accepts_again(caplog)) == 1


class Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(b"served")


class Server(DualStackMixin, socketserver.TCPServer):
    pass


class ServerBehindProxies(Server):
    proxy_from = ("127.0.0.1",)


def with_a_ready_socket() -> socketserver.TCPServer:
    server = socketserver.TCPServer(("::", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listening_socket("::", 0)
    return server


@pytest.mark.parametrize(
    ("made", "error"),
    [
        (lambda: Server(("", 0), Handler), "EPERM"),
        (lambda: ServerBehindProxies(("", 0), Handler), "EPERM"),
        (with_a_ready_socket, "EMFILE"),
    ],
    ids=["mixin", "mixin behind proxies", "ready socket"],
)
def test_socketserver(
    caplog: pytest.LogCaptureFixture,
    made: Callable[[], socketserver.TCPServer],
    error: str,
) -> None:
    faults = Faults("accept4")
    answers: list[bytes] = []
    asked: list[bool] = []

    def connect(server: socketserver.TCPServer) -> None:
        try:
            start = time.monotonic()
            number = server.socket.getsockname()[1]
            with socket.create_connection(("127.0.0.1", number), PATIENCE) as client:
                deadline = start + PATIENCE
                while not faults.asked["accept4"] and time.monotonic() < deadline:
                    time.sleep(0.01)
                time.sleep(0.2)
                asked.append(1 <= faults.asked["accept4"] <= most(start))
                faults.heal()
                if isinstance(server, ServerBehindProxies):
                    client.sendall(HEADER)
                answers.append(client.recv(100))
        finally:
            server.shutdown()

    def serve() -> None:
        faults.always("accept4", getattr(errno, error))
        with made() as server:
            thread = threading.Thread(target=connect, args=(server,))
            thread.start()
            server.serve_forever(0.01)
            thread.join(PATIENCE)

    faults.run(serve)
    assert asked == [True]
    assert answers == [b"served"]
    assert len(accepts_again(caplog)) == 1
