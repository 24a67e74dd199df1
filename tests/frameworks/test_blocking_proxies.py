"""``proxy_from`` in the standard library: ``create_server`` and the servers of ``socketserver``."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import select
import selectors
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Files
from support.processes import PATIENCE
from support.proxy_headers import HEADERS, IPV4, LOCAL, MAPPED, UNIX, version_1, version_2
from support.reactors import open_descriptors
from support.windows import WINDOWS

from dsadapter.addressing import AddressSet
from dsadapter.frameworks import get_framework
from dsadapter.frameworks.blocking import DualStackMixin, create_server
from dsadapter.policy import ListenPolicy
from dsadapter.proxied import proxied_queue
from dsadapter.testing import RecordingPlugin, registered

if not WINDOWS:
    import resource

LOOPBACK = ["127.0.0.0/8", "::1"]
OF_THE_PROXY = {"v1-unknown": b"PROXY UNKNOWN\r\n", "v2-local": LOCAL, "v2-unix": UNIX}


def listening(**options: Any) -> Any:
    sock = create_server(("", 0), **{"proxy_from": LOOPBACK, **options})
    sock.settimeout(PATIENCE)
    return sock


def connected(sock: Any, sent: bytes = b"", proxy: str = "127.0.0.1") -> socket.socket:
    client = socket.create_connection((proxy, sock.getsockname()[1]), PATIENCE)
    client.sendall(sent)
    return client


def ended(client: socket.socket) -> bool:
    """Wait for the end of a connection."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(("header", "names"), HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("proxy", ["127.0.0.1", "::1"])
def test_the_names_are_the_clients(header: bytes, names: Any, proxy: str) -> None:
    with listening() as sock, connected(sock, header + b"request", proxy):
        accepted, peer = sock.accept()
        with accepted:
            assert (peer, accepted.getsockname()) == names
            assert accepted.getpeername() == peer
            assert accepted.getblocking()
            assert accepted.recv(100) == b"request"
            assert "::ffff:" not in repr(accepted)
        assert sock.proxy_counters.passed == 1


@pytest.mark.parametrize("header", OF_THE_PROXY.values(), ids=OF_THE_PROXY)
def test_what_names_nobody_is_of_the_proxy(header: bytes) -> None:
    with listening() as sock, connected(sock, header + b"x") as client:
        accepted, peer = sock.accept()
        with accepted:
            assert (peer, accepted.getsockname()) == (client.getsockname(), client.getpeername())


def test_nothing_is_accepted_before_its_header() -> None:
    header = version_2(*MAPPED)
    with registered(RecordingPlugin()) as plugin, listening() as sock:
        sock.settimeout(0)
        with connected(sock) as client:
            for at in range(len(header)):
                with pytest.raises(BlockingIOError):
                    sock.accept()
                assert not plugin.of("connection_made")
                client.sendall(header[at : at + 1])
            sock.settimeout(PATIENCE)
            accepted, _ = sock.accept()
            [connection] = plugin.of("connection_made")
            assert (connection.peer, connection.local) == IPV4
            assert (connection.proxy, connection.framework) == (client.getsockname(), "blocking")
            accepted.close()
            assert plugin.of("connection_lost") == [connection]


def test_a_slow_proxy_keeps_nobody_waiting() -> None:
    with listening() as sock, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connected(sock, version_1(*MAPPED)[:10])) for _ in range(20)]
        for _ in range(5):
            with connected(sock, version_2("192.0.2.7", "192.0.2.8")):
                accepted, peer = sock.accept()
                accepted.close()
                assert peer[0] == "192.0.2.7"
        for client in slow:
            client.sendall(version_1(*MAPPED)[10:])
            accepted, peer = sock.accept()
            accepted.close()
            assert peer == IPV4[0]
        assert sock.proxy_counters.passed == 25


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
def test_what_is_no_whole_header_in_time_ends(sent: bytes, counter: str) -> None:
    with listening(proxy_timeout=0.2) as sock, connected(sock, LOCAL):
        # What stays open for as long as the socket does is open now.
        sock.accept()[0].close()
        before = open_descriptors()
        with connected(sock, sent) as client:
            sock.settimeout(0.05)
            while not getattr(sock.proxy_counters, counter):
                with pytest.raises(TimeoutError):
                    sock.accept()
            assert ended(client)
        assert getattr(sock.proxy_counters, counter) == 1
        assert sock.proxy_counters.passed == 1
        assert open_descriptors() <= before


def test_what_came_while_nobody_looked_is_not_late() -> None:
    header, patience = version_1(*MAPPED), 0.05
    with listening(proxy_timeout=patience) as sock, connected(sock, header[:5]) as client:
        sock.settimeout(0)
        with pytest.raises(BlockingIOError):
            sock.accept()
        client.sendall(header[5:])
        time.sleep(2 * patience)
        accepted, peer = sock.accept()
        accepted.close()
        assert peer == IPV4[0]
        assert sock.proxy_counters.late == 0


def test_what_drips_is_late_all_the_same() -> None:
    header = version_1(*MAPPED)
    with listening(proxy_timeout=0.3) as sock, connected(sock) as client:
        sock.settimeout(0.02)
        for byte in header:
            try:
                client.sendall(bytes([byte]))
            except OSError:
                break
            with contextlib.suppress(TimeoutError):
                pytest.fail(f"accepted {sock.accept()}")
        assert ended(client)
        assert sock.proxy_counters.late == 1


def test_a_stranger_is_closed() -> None:
    with listening(proxy_from=AddressSet(["127.0.0.1"])) as sock:
        with connected(sock, version_2(*MAPPED), "::1") as client:
            with connected(sock, LOCAL) as proxy:
                accepted, peer = sock.accept()
                accepted.close()
                assert peer == proxy.getsockname()
            assert ended(client)
        assert (sock.proxy_counters.strangers, sock.proxy_counters.passed) == (1, 1)


def test_timeouts_are_those_of_a_socket() -> None:
    with create_server(("", 0), proxy_from=LOOPBACK) as sock:
        assert (sock.gettimeout(), sock.getblocking()) == (None, True)
        for value, blocking in ((None, True), (0.0, False), (2.5, True)):
            sock.settimeout(value)
            assert (sock.gettimeout(), sock.getblocking()) == (value, blocking)
        sock.setblocking(True)
        assert sock.gettimeout() is None
        with pytest.raises(ValueError, match="out of range"):
            sock.settimeout(-1)


def test_threads_share_it() -> None:
    got: list[Any] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, peer = sock.accept()
                got.append(peer[0])
                accepted.close()

    with listening() as sock:
        sock.settimeout(None)
        threads = [threading.Thread(target=serve) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(40):
            with connected(sock, version_2(f"192.0.2.{number}", "198.51.100.1")) as client:
                assert ended(client)
    # Closing wakes them all.
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert sorted(got) == sorted(f"192.0.2.{number}" for number in range(40))


def test_closing_ends_those_that_wait() -> None:
    before = open_descriptors()
    with listening() as sock:
        client = connected(sock, b"PROXY")
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            sock.accept()
    with client:
        assert ended(client)
    assert open_descriptors() <= before
    with pytest.raises(OSError, match="Bad file descriptor"):
        sock.accept()


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.not_on_windows("forks")
def test_a_forked_process_leaves_the_parents_alone() -> None:
    with listening() as sock, connected(sock, b"PROXY ") as client:
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.accept()
        sock.settimeout(PATIENCE)
        child = os.fork()
        if not child:
            # It accepts what comes from now on.
            status = 1
            try:
                accepted, peer = sock.accept()
                accepted.sendall(str(peer[0]).encode())
                accepted.close()
                sock.close()
                status = 0
            finally:
                os._exit(status)
        with connected(sock, version_2("192.0.2.9", "198.51.100.1")) as other:
            assert other.recv(100) == b"192.0.2.9"
        assert os.waitpid(child, 0)[1] == 0
        client.sendall(b"TCP4 192.0.2.1 198.51.100.1 4000 80\r\n")
        accepted, peer = sock.accept()
        accepted.close()
        assert peer == IPV4[0]
        assert ended(client)


def test_a_descriptor_that_would_accept_from_anybody_is_not_given_away() -> None:
    before = open_descriptors()
    with listening() as sock:
        with pytest.raises(OSError, match="can't be duplicated"):
            sock.dup()
        with pytest.raises(OSError, match="read no PROXY headers"):
            sock._accept()
        with pytest.raises(TypeError, match="open one with reuse_port=True in each process"):
            pickle.dumps(sock)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    sock = listening()
    with (
        pytest.warns(ResourceWarning, match="unclosed"),
        pytest.raises(OSError, match=r"set context.sslsocket_class = sock.sslsocket_class"),
    ):
        context.wrap_socket(sock, server_side=True)
    assert open_descriptors() <= before


def test_a_policy_with_proxies_is_served() -> None:
    policy = ListenPolicy("::", 0, proxy_from=AddressSet(["127.0.0.1"]))
    with get_framework("blocking").server(None, policy).listen() as sock:
        sock.settimeout(PATIENCE)
        with connected(sock, version_2(*MAPPED)):
            accepted, peer = sock.accept()
            accepted.close()
            assert peer == IPV4[0]


class Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        names = self.client_address, self.request.getpeername(), self.request.getsockname()
        self.request.sendall(repr(names).encode() + b" " + self.request.recv(100))


MIXED: dict[str, tuple[Any, ...]] = {
    "plain": (),
    "threads": (socketserver.ThreadingMixIn,),
    **({} if WINDOWS else {"forks": (socketserver.ForkingMixIn,)}),
}


@contextlib.contextmanager
def serving(mixed: str = "plain", tls: Files | None = None, **attributes: Any) -> Iterator[Any]:
    bases = (DualStackMixin, *MIXED[mixed], socketserver.TCPServer)
    kind: Any = type("Server", bases, {"proxy_from": LOOPBACK, **attributes})
    server = kind(("", 0), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.full_chain, tls.key)
        context.sslsocket_class = server.socket.sslsocket_class
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize("mixed", MIXED)
@pytest.mark.parametrize("tls", [False, True])
def test_servers_of_socketserver(mixed: str, tls: bool, tmp_path: Path) -> None:
    files = Files.written_to(tmp_path) if tls else None
    with serving(mixed, files) as server, contextlib.ExitStack() as stack:
        # Headers that don't end keep nobody waiting.
        for _ in range(3):
            stack.enter_context(connected(server.socket, b"PROXY TCP4 "))
        for header in (version_1(*MAPPED), version_2(*MAPPED)):
            client: Any = connected(server.socket, header[:7])
            client.sendall(header[7:])
            if files is not None:
                trust = ssl.create_default_context(cafile=files.root)
                client = trust.wrap_socket(client, server_hostname="localhost")
            with client:
                client.sendall(b"request")
                with client.makefile("rb") as answer:
                    peer, local = IPV4
                    assert answer.read() == repr((peer, peer, local)).encode() + b" request"
        assert server.proxy_counters.passed == 2


def test_a_server_closes_what_is_late_and_strange() -> None:
    with (
        serving(proxy_timeout=0.1, proxy_from=["127.0.0.1"]) as server,
        connected(server.socket, b"PROXY") as slow,
        connected(server.socket, version_1(*MAPPED), "::1") as stranger,
    ):
        assert ended(slow)
        assert ended(stranger)
        until(lambda: (server.proxy_counters.late, server.proxy_counters.strangers) == (1, 1))


def test_a_server_without_proxies_has_no_counters() -> None:
    with serving(proxy_from=None) as server, connected(server.socket, b"request") as client:
        assert client.recv(100).endswith(b" request")
        assert server.proxy_counters is None


@pytest.fixture(params=["own", "made"])
def descriptor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whether selectors have a descriptor, as Windows' have none."""
    if request.param == "made":
        monkeypatch.setattr(selectors, "DefaultSelector", selectors.SelectSelector)
    before = set(threading.enumerate())
    yield
    # A thread that waits for them closes sockets of its own, which another test may count.
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)


@pytest.mark.usefixtures("descriptor")
def test_handle_request_is_enough() -> None:
    kind: Any = type("Server", (DualStackMixin, socketserver.TCPServer), {"proxy_from": LOOPBACK})
    with kind(("", 0), Handler) as server, connected(server.socket, b"PROXY ") as client:
        server.handle_request()
        client.sendall(b"TCP4 192.0.2.1 198.51.100.1 4000 80\r\nx")
        server.handle_request()
        assert client.recv(100).startswith(b"(('192.0.2.1', 4000)")


@pytest.mark.usefixtures("descriptor")
def test_a_descriptor_says_when_there_is_something_to_take() -> None:
    with listening() as sock, connected(sock, version_1(*MAPPED)) as client:
        assert select.select([sock.queue], [], [], PATIENCE)[0]
        assert sock.queue.is_ready()
        accepted, _ = sock.accept()
        assert not select.select([sock.queue], [], [], 0)[0]
        accepted.close()
        assert ended(client)


# The number of Windows, which takes a while, and any other.
@pytest.mark.parametrize(
    ("silent", "most"), [(7, 5), *([(520, proxied_queue.MOST_WATCHED)] if WINDOWS else [])]
)
def test_more_than_can_be_watched_wait_until_they_are_accepted(
    silent: int, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxied_queue, "MOST_WATCHED", most)
    # Long enough for the client to send its header, on a busy machine, too.
    with serving(proxy_timeout=1) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(server.socket)) for _ in range(silent)]
        with connected(server.socket, version_1(*MAPPED) + b"x") as client:
            assert client.recv(100).startswith(b"(('192.0.2.1', 4000)")
        assert all(ended(each) for each in clients)
        assert server.proxy_counters.late == silent


@pytest.mark.not_on_windows("has no RLIMIT_NOFILE")
def test_descriptors_run_out_and_come_back() -> None:
    with listening() as sock, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(sock, LOCAL)) for _ in range(3)]
        sock.accept()[0].close()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1 + max(map(int, open_descriptors())), hard))
        held = []
        try:
            with contextlib.suppress(OSError):
                while True:
                    held.append(os.dup(0))
            with pytest.raises(OSError, match="Too many open files") as caught:
                sock.accept()
        finally:
            for number in held:
                os.close(number)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert caught.value.errno == errno.EMFILE
        for _ in clients[1:]:
            sock.accept()[0].close()


@pytest.mark.not_on_windows("has no RLIMIT_NOFILE")
@pytest.mark.parametrize("left", range(4))
def test_descriptors_run_out_before_the_first_accept(left: int) -> None:
    with listening() as sock, connected(sock, LOCAL):
        before = open_descriptors()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1 + max(map(int, before)), hard))
        held = []
        try:
            with contextlib.suppress(OSError):
                while True:
                    held.append(os.dup(0))
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (1 + left + max([*held, *map(int, before)]), hard)
            )
            for _ in range(2):
                with pytest.raises(OSError, match="Too many open files"):
                    sock.accept()
        finally:
            for number in held:
                os.close(number)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        sock.accept()[0].close()
    assert len(open_descriptors()) <= len(before)
