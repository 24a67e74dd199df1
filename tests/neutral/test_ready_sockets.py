"""The ready socket under servers that know nothing of it: what they see, and what plugins see."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import http.server
import multiprocessing
import os
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Files
from support.descriptors import open_descriptors
from support.early_peers import early_peer
from support.machines import NO_DUAL_STACK
from support.ready_workers import accept_and_record
from support.seccomp import without
from zope.interface.verify import verifyObject

from dsadapter import hookimpl
from dsadapter.errors import NotDualStackError, PluginError, RefusedError
from dsadapter.interfaces import IListener
from dsadapter.sockets.listening import inherited_sockets, listening_socket
from dsadapter.testing import RecordingPlugin, registered

PATIENCE = 30
HOSTS = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
needs_root = (
    pytest.mark.not_on_windows("seccomp is Linux's")
    if sys.platform == "win32"
    else pytest.mark.skipif(os.geteuid() != 0, reason="a supervising filter takes root")
)
FORKS = pytest.mark.not_on_windows("forks")
METHODS = ["spawn", pytest.param("forkserver", marks=FORKS)]
EARLY = pytest.mark.parametrize("deed", ["stays", "half-closes"])


class Recording(RecordingPlugin):
    """Can be waited for, because servers close in threads of their own."""

    def __init__(self) -> None:
        super().__init__()
        self._lost = threading.Semaphore(0)

    @hookimpl
    def dsadapter_connection_lost(self, connection: Any) -> None:
        super().dsadapter_connection_lost(connection)
        self._lost.release()

    def wait_for_losses(self, number: int) -> None:
        for _ in range(number):
            assert self._lost.acquire(timeout=PATIENCE)

    @property
    def told(self) -> list[str]:
        return [event.hook for event in self.events]


@pytest.fixture
def recording() -> Iterator[Recording]:
    with registered(Recording()) as plugin:
        yield plugin


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def answer_of(client: socket.socket) -> bytes:
    client.settimeout(PATIENCE)
    return b"".join(iter(lambda: client.recv(1000), b""))


class TestOpening:
    @pytest.mark.parametrize(
        ("given", "family", "v6only"),
        [
            ({"host": "::"}, socket.AF_INET6, 0),
            ({"host": ""}, socket.AF_INET6, 0),
            ({"host": "::1"}, socket.AF_INET6, 1),
            ({"host": "::", "family": "ipv6"}, socket.AF_INET6, 1),
            ({"host": "::", "family": "ipv4"}, socket.AF_INET, None),
            ({"host": "127.0.0.1"}, socket.AF_INET, None),
            ({"host": "::ffff:127.0.0.1"}, socket.AF_INET, None),
        ],
    )
    def test_it_is_what_was_asked_for(self, given: Any, family: int, v6only: int | None) -> None:
        with listening_socket(port=0, **given) as sock:
            assert sock.family == family
            assert sock.gettimeout() is None
            assert not sock.get_inheritable()
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if v6only is not None:
                assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == v6only

    @pytest.mark.not_on_windows("sockets share a port by SO_REUSEPORT")
    def test_a_port_is_shared_when_both_ask_for_it(self) -> None:
        with listening_socket("::", 0, reuse_port=True) as first:
            with listening_socket("::", port_of(first), reuse_port=True) as second:
                assert port_of(second) == port_of(first)
            with pytest.raises(OSError, match="held by another socket"):
                listening_socket("::", port_of(first))

    @pytest.mark.parametrize(
        ("given", "names"),
        [
            ({"host": "localhost"}, "host 'localhost'"),
            ({"host": "::", "fallback": "pair"}, "fallback 'pair'"),
            ({"host": "127.1"}, "host '127.1'"),
            ({"host": "::", "backlog": 0}, "backlog 0"),
            ({"host": "::", "port": 65536}, "port 65536"),
        ],
    )
    def test_what_one_socket_can_not_be_is_an_error_with_the_remedy(
        self, given: Any, names: str
    ) -> None:
        before = open_descriptors()
        with pytest.raises(ValueError, match=names):
            listening_socket(**{"port": 0, **given})
        assert open_descriptors() <= before

    @pytest.mark.parametrize(("parameter", "value"), [("host", "localhost"), ("fallback", "pair")])
    def test_what_the_error_advises_is_taken(self, parameter: str, value: str) -> None:
        given = {"host": "::", parameter: value}
        with pytest.raises(ValueError) as refused:
            listening_socket(port=0, **given)
        _, _, advice = str(refused.value).partition(";")
        forms = advice.split("'")[1::2]
        assert len(forms) > 2
        for form in forms:
            listening_socket(port=0, **{**given, parameter: form}).close()

    def test_importing_the_door_brings_neither_plugins_nor_frameworks(self) -> None:
        program = (
            "import sys, dsadapter.sockets.listening\n"
            "print(sorted({'pluggy', 'zope', 'twisted', 'asyncio', 'ssl'} & sys.modules.keys()))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
        assert done.stdout.strip() == b"[]"


@needs_root
class TestFallback:
    @staticmethod
    def opened(fallback: str, *denials: str) -> str:
        program = (
            "import logging, sys\n"
            "logging.basicConfig(format='%(message)s', stream=sys.stdout)\n"
            "from dsadapter.sockets.listening import inherited_sockets, listening_socket\n"
            "try:\n"
            f"    with listening_socket('::', 0, fallback={fallback!r}) as sock:\n"
            "        print(sock.getsockname()[0])\n"
            "except OSError as error:\n"
            "    print(type(error).__name__)\n"
        )
        command = [*without(*denials), sys.executable, "-c", program]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout

    @pytest.mark.parametrize(
        ("fallback", "host", "served"),
        [("auto", "0.0.0.0", "IPv4"), ("ipv4", "0.0.0.0", "IPv4"), ("ipv6", "::", "IPv6")],
    )
    def test_one_family_is_served_where_no_socket_serves_both(
        self, fallback: str, host: str, served: str
    ) -> None:
        said = self.opened(fallback, NO_DUAL_STACK)
        assert host in said.splitlines()
        assert f", {served} only, because" in said

    def test_nothing_opens_where_that_is_asked_for(self) -> None:
        said = self.opened("fail", NO_DUAL_STACK)
        assert said.strip() == NotDualStackError.__name__


class TestPlugins:
    def test_one_that_listens_is_told_of_once_each_way(self, recording: Recording) -> None:
        sock = listening_socket("::", 0)
        [listener] = recording.of("listener_opened")
        assert verifyObject(IListener, listener)
        assert (listener.framework, listener.mode) == ("socket", "dual-stack")
        assert listener.addresses() == (("::", port_of(sock), 0, 0),)
        for _ in range(2):
            sock.close()
        assert recording.told == ["before_bind", "listener_opened", "listener_closed"]

    @pytest.mark.parametrize("end", ["", "sock.close()", "del sock"])
    def test_one_that_is_open_when_the_process_ends_is_closed(self, end: str) -> None:
        program = (
            "import warnings\n"
            "from dsadapter import hookimpl\n"
            "from dsadapter.sockets.listening import inherited_sockets, listening_socket\n"
            "from dsadapter.testing import registered\n"
            "class Telling:\n"
            "    @hookimpl\n"
            "    def dsadapter_listener_closed(self, listener):\n"
            "        print('closed', listener.addresses()[0][0])\n"
            "warnings.simplefilter('ignore')\n"
            "plugin = registered(Telling())\n"
            "plugin.__enter__()\n"
            "sock = listening_socket('::', 0)\n"
            f"{end}\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
        assert (done.stdout.splitlines(), done.stderr) == ([b"closed ::"], b"")

    def test_a_duplicate_keeps_it_open(self, recording: Recording) -> None:
        sock = listening_socket("::", 0)
        with sock.dup() as duplicate:
            sock.close()
            assert not recording.of("listener_closed")
            with early_peer("127.0.0.1", port_of(duplicate)) as peer:
                duplicate.accept()[0].close()
            assert recording.of("connection_lost")[0].peer == peer.name
        assert len(recording.of("listener_closed")) == 1

    @HOSTS
    def test_a_connection_is_told_of_once_each_way(self, host: str, recording: Recording) -> None:
        with listening_socket("::", 0) as sock, early_peer(host, port_of(sock)) as peer:
            accepted, _ = sock.accept()
            [made] = recording.of("connection_made")
            assert (made.peer, made.local) == (peer.name, peer.server)
            assert made.listener is recording.of("listener_opened")[0]
            assert (made.direction, made.framework) == ("inbound", "socket")
            with accepted.makefile("rb"), accepted.dup() as duplicate:
                accepted.close()
                # The file, and then the other socket, are still open.
                assert not recording.of("connection_lost")
                assert duplicate.recv(100) == b"request"
            assert recording.of("connection_lost") == [made]

    @pytest.mark.parametrize("end", ["detach", "forget"])
    def test_what_is_lost_sight_of_is_lost(self, end: str, recording: Recording) -> None:
        with listening_socket("::", 0) as sock, early_peer("127.0.0.1", port_of(sock)):
            accepted, _ = sock.accept()
            if end == "detach":
                socket.close(accepted.detach())
            else:
                with pytest.warns(ResourceWarning):
                    del accepted
            assert len(recording.of("connection_lost")) == 1

    @pytest.mark.parametrize("forgotten", ["listening", "accepted"])
    def test_the_warning_of_an_unclosed_one_names_the_line_that_lost_it(
        self, forgotten: str, recording: Recording
    ) -> None:
        listening = listening_socket("::", 0)
        with early_peer("127.0.0.1", port_of(listening)):
            sockets = {"accepted": listening.accept()[0], "listening": listening}
            del listening
            with pytest.warns(ResourceWarning, match="unclosed .*ReadySocket") as warned:
                del sockets[forgotten]
            for sock in sockets.values():
                sock.close()
        assert [warning.filename for warning in warned] == [__file__]

    @pytest.mark.parametrize("host", ["::", "::1"])
    def test_a_descriptor_that_is_handed_on_is_warned_of(
        self, host: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        sock = listening_socket(host, 0)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.wrap_socket(sock, server_side=True).close()
        warned = "sslsocket_class = sock.sslsocket_class" in caplog.text
        assert warned == (host == "::")

    def test_a_refusal_leaves_nothing_open(self, recording: Recording) -> None:
        class Refusing:
            @hookimpl
            def dsadapter_before_bind(self, policy: Any) -> None:
                raise PermissionError(f"{policy} is not for you")

        before = open_descriptors()
        with registered(Refusing()), pytest.raises(RefusedError, match="is not for you"):
            listening_socket("0:0:0:0:0:0:0:1", 0)
        assert open_descriptors() <= before
        [refusal] = recording.of("operation_refused")
        assert refusal.address == ("::1", 0, 0, 0)
        assert "listener_opened" not in recording.told

    def test_nothing_opens_while_a_required_plugin_is_missing(self) -> None:
        program = (
            "from dsadapter.sockets.listening import inherited_sockets, listening_socket\n"
            "try:\n"
            "    listening_socket('::', 0)\n"
            f"except {PluginError.__module__}.{PluginError.__name__} as error:\n"
            "    print(error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", f"import {PluginError.__module__}\n{program}"],
            capture_output=True,
            env={**os.environ, "DSADAPTER_REQUIRE_PLUGINS": "audit"},
            check=True,
        )
        assert b"'audit' is required" in done.stdout

    @pytest.mark.not_on_windows("forks")
    def test_a_fork_that_closes_what_it_inherited_says_nothing(self, recording: Recording) -> None:
        with listening_socket("::", 0) as sock, early_peer("127.0.0.1", port_of(sock)):
            accepted, _ = sock.accept()
            told = len(recording.events)
            reading, writing = os.pipe()
            child = os.fork()
            if not child:
                with contextlib.suppress(BaseException):
                    accepted.close()
                    sock.close()
                    os.write(writing, b"%d" % (len(recording.events) - told))
                os._exit(0)
            os.waitpid(child, 0)
            os.close(writing)
            with open(reading, "rb") as pipe:
                assert pipe.read() == b"0"
            accepted.close()
            assert len(recording.of("connection_lost")) == 1


@pytest.mark.parametrize("method", METHODS)
def test_in_a_worker_process_its_own_plugins_are_told(method: str) -> None:
    context = multiprocessing.get_context(method)
    reports, report = context.Pipe(duplex=False)
    with listening_socket("::", 0) as sock, early_peer("127.0.0.1", port_of(sock)) as peer:
        worker = context.Process(target=accept_and_record, args=(sock, report))
        worker.start()
        assert reports.poll(PATIENCE)
        told, names = reports.recv()
        worker.join(PATIENCE)
    reports.close()
    report.close()
    # The worker registers its plugin when the socket has been opened there.
    assert told == ["connection_made", "connection_lost", "listener_closed"]
    assert names == (peer.name, peer.server)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.not_on_windows("processes of Windows share no open file")
def test_a_worker_process_leaves_those_that_serve_already_non_blocking(method: str) -> None:
    context = multiprocessing.get_context(method)
    reports, report = context.Pipe(duplex=False)
    with listening_socket("::", 0) as sock, early_peer("127.0.0.1", port_of(sock)):
        # As the event loop of the worker before did, in the open file that all of them share.
        os.set_blocking(sock.fileno(), False)
        worker = context.Process(target=accept_and_record, args=(sock, report))
        worker.start()
        assert reports.poll(PATIENCE)
        reports.recv()
        worker.join(PATIENCE)
        assert not os.get_blocking(sock.fileno())
    reports.close()
    report.close()


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.not_on_windows("a program of Windows is given no sockets by number")
def test_an_inherited_socket_stays_as_others_have_it(blocking: bool) -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as others:
        others.setblocking(blocking)
        [sock] = inherited_sockets(fd=os.dup(others.fileno()))
        with sock:
            assert sock.getblocking() == os.get_blocking(others.fileno()) == blocking


class Echo(socketserver.BaseRequestHandler):
    """Answers with every name that a handler has."""

    def handle(self) -> None:
        assert self.request.recv(100) == b"request"
        names = (self.client_address, self.request.getpeername(), self.request.getsockname())
        self.request.sendall(repr(names).encode())


@contextlib.contextmanager
def serving(server: socketserver.TCPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def socket_server(kind: type[socketserver.TCPServer], sock: socket.socket) -> Any:
    """The recipe for a server of the ``socketserver`` family."""
    server = kind(sock.getsockname(), Echo, bind_and_activate=False)
    server.socket.close()
    server.socket = sock
    return server


@contextlib.contextmanager
def in_threads(sock: socket.socket) -> Iterator[None]:
    with serving(socket_server(socketserver.ThreadingTCPServer, sock)):
        yield


@contextlib.contextmanager
def in_processes(sock: socket.socket) -> Iterator[None]:
    with serving(socket_server(socketserver.ForkingTCPServer, sock)):
        yield


@contextlib.contextmanager
def in_asyncio(sock: socket.socket) -> Iterator[None]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read(100) == b"request"
        info = writer.get_extra_info
        names = (info("peername"), info("socket").getpeername(), info("sockname"))
        writer.write(repr(names).encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    started, stop = threading.Event(), asyncio.Event()

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        async with await asyncio.start_server(connected, sock=sock):
            started.set()
            await stop.wait()

    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert started.wait(PATIENCE)
    yield
    loops[0].call_soon_threadsafe(stop.set)
    thread.join()


@contextlib.contextmanager
def by_hand(sock: socket.socket) -> Iterator[None]:
    def serve() -> None:
        for _ in range(2):
            accepted, address = sock.accept()
            with accepted:
                assert accepted.recv(100) == b"request"
                names = (address, accepted.getpeername(), accepted.getsockname())
                accepted.sendall(repr(names).encode())

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    thread.join()
    sock.close()


# Python warns of forks beside threads.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize(
    "way",
    [
        by_hand,
        in_threads,
        pytest.param(in_processes, marks=FORKS),
        pytest.param(in_asyncio, marks=pytest.mark.not_on_windows("Proactor makes sockets itself")),
    ],
)
@EARLY
def test_unlike_servers_see_and_tell_each_connection_once(
    way: Callable[[socket.socket], Any], deed: str, recording: Recording
) -> None:
    before = open_descriptors()
    sock = listening_socket("::", 0)
    port = port_of(sock)
    peers = []
    with way(sock):
        for host in ("127.0.0.1", "::1"):
            with early_peer(host, port, deed) as peer:
                assert answer_of(peer.client) == repr((peer.name, peer.name, peer.server)).encode()
                peers.append(peer.name)
        recording.wait_for_losses(2)
    assert [made.peer for made in recording.of("connection_made")] == peers
    assert set(recording.of("connection_lost")) == set(recording.of("connection_made"))
    assert len(recording.of("connection_lost")) == 2
    for hook in ("before_bind", "listener_opened", "listener_closed"):
        assert recording.told.count(hook) == 1
    assert open_descriptors() <= before


class Names(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        names = (self.client_address, self.connection.getpeername(), self.connection.getsockname())
        body = repr(names).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        logged = f"{self.address_string()} {format % args}"
        self.server.logged.append(logged)  # type: ignore[attr-defined]


@HOSTS
@pytest.mark.parametrize("wrapped", ["no", "listening", "accepted"])
def test_http_server_with_and_without_tls(
    host: str, wrapped: str, recording: Recording, tmp_path: Path
) -> None:
    files = Files.written_to(tmp_path)
    sock = listening_socket("::", 0)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.full_chain, files.key)
    context.sslsocket_class = sock.sslsocket_class
    server: Any = http.server.ThreadingHTTPServer(("", 0), Names, bind_and_activate=False)
    server.socket.close()
    server.logged = []
    server.socket = sock
    if wrapped == "listening":
        server.socket = context.wrap_socket(sock, server_side=True)
    elif wrapped == "accepted":

        def get_request() -> Any:
            accepted, address = sock.accept()
            return context.wrap_socket(accepted, server_side=True), address

        server.get_request = get_request
    port = port_of(server.socket)
    with serving(server):
        client: http.client.HTTPConnection
        if wrapped == "no":
            client = http.client.HTTPConnection(host, port, timeout=PATIENCE)
        else:
            trust = ssl.create_default_context(cafile=files.root)
            trust.check_hostname = False
            client = http.client.HTTPSConnection(host, port, timeout=PATIENCE, context=trust)
        client.connect()
        name, theirs = client.sock.getsockname(), client.sock.getpeername()
        client.request("GET", "/")
        assert client.getresponse().read() == repr((name, name, theirs)).encode()
        client.close()
        recording.wait_for_losses(1)
    assert server.logged[0].startswith(f"{host} ")
    assert recording.told == [
        "before_bind",
        *("listener_opened", "connection_made", "connection_lost", "listener_closed"),
    ]


def test_a_failed_handshake_is_told_as_lost(recording: Recording, tmp_path: Path) -> None:
    files = Files.written_to(tmp_path)
    before = open_descriptors()
    with listening_socket("::", 0) as sock:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.full_chain, files.key)
        context.sslsocket_class = sock.sslsocket_class
        with early_peer("127.0.0.1", port_of(sock), request=b"GET / HTTP/1.0\r\n\r\n"):
            accepted, _ = sock.accept()
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(accepted, server_side=True)
            assert len(recording.of("connection_lost")) == 1
        # A context that refuses leaves the socket alone.
        with early_peer("127.0.0.1", port_of(sock)):
            accepted, _ = sock.accept()
            with accepted:
                with pytest.raises(ValueError, match="server_hostname"):
                    context.wrap_socket(accepted, server_side=True, server_hostname="localhost")
                assert accepted.recv(100) == b"request"
                assert len(recording.of("connection_lost")) == 1
            assert len(recording.of("connection_lost")) == 2
    assert open_descriptors() <= before
