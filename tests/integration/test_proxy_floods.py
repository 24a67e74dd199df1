"""Headers that never end, as many as there are descriptors: afterwards the server serves."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

import pytest
from support.listeners import RecordingFactory, stop
from support.processes import PATIENCE
from support.proxy_headers import version_2
from support.reactors import Reactor, open_descriptors

from dsadapter.frameworks.blocking import DualStackMixin
from dsadapter.frameworks.twisted import DualStackServerEndpoint

if sys.platform != "win32":
    import resource

pytestmark = pytest.mark.not_on_windows("limits descriptors by setrlimit")

FLOOD = 40
HEADER = version_2("192.0.2.1", "198.51.100.1")


@contextlib.contextmanager
def few_descriptors(free: int) -> Iterator[None]:
    """This process can open so many more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = sorted(map(int, open_descriptors()))
    held = []
    # Numbers that are free below the highest one count, too.
    for number in range(used[-1]):
        if number not in used:
            held.append(os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used[-1] + 1 + free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in held:
            os.close(number)


def flood(stack: contextlib.ExitStack, number: int) -> list[socket.socket]:
    clients = []
    for _ in range(FLOOD):
        client = stack.enter_context(socket.create_connection(("127.0.0.1", number), PATIENCE))
        client.sendall(HEADER[:-1])
        clients.append(client)
    return clients


def ended(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_twisted_serves_after_a_flood(reactor: Reactor) -> None:
    factory = RecordingFactory()
    endpoint = DualStackServerEndpoint(reactor, 0, proxyFrom=["127.0.0.1"], proxyTimeout=0.3)
    port: Any = reactor.result_of(endpoint.listen(factory))
    number = port.getHost().port
    with contextlib.ExitStack() as stack:
        clients = flood(stack, number)
        last = stack.enter_context(socket.create_connection(("127.0.0.1", number), PATIENCE))
        before = open_descriptors()
        # When there are none left, Twisted lets go of all that wait: only so many are late at all,
        # and another thread of this process may have one or two.
        with few_descriptors(12):
            reactor.until(lambda: port.proxyCounters.late >= 10)
            assert not factory.made
        for client in clients:
            client.setblocking(False)
        reactor.until(lambda: all(map(over, clients)))
        with socket.create_connection(("127.0.0.1", number), PATIENCE) as client:
            client.sendall(HEADER)
            reactor.until(lambda: factory.made)
            assert factory.made[0].transport.getPeer().host == "192.0.2.1"
        reactor.until(lambda: factory.lost)
        last.close()
        reactor.until(lambda: open_descriptors() <= before)
    stop(reactor, port)


def over(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


class Handler(BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(str(self.client_address[0]).encode())


class Server(DualStackMixin, ThreadingTCPServer):
    proxy_from = ("127.0.0.1",)
    proxy_timeout = 0.3
    daemon_threads = True
    request_queue_size = 2 * FLOOD


def test_the_standard_librarys_servers_serve_after_a_flood() -> None:
    with Server(("", 0), Handler) as server, contextlib.ExitStack() as stack:
        number = server.server_address[1]
        clients = flood(stack, number)
        # What it opens for itself is open.
        server.service_actions()
        server.fileno()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        with few_descriptors(10):
            thread.start()
            for client in clients:
                assert ended(client)
        assert server.proxy_counters is not None
        assert server.proxy_counters.late == FLOOD
        with socket.create_connection(("127.0.0.1", number), PATIENCE) as client:
            client.sendall(HEADER)
            assert client.recv(100) == b"192.0.2.1"
        server.shutdown()
        thread.join()
