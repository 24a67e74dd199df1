"""The standard library's blocking sockets and servers, dual-stack."""

from __future__ import annotations

import contextlib
import errno
import http.client
import http.server
import inspect
import ipaddress
import re
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
import wsgiref.simple_server
import xmlrpc.client
import xmlrpc.server
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Files
from support.descriptors import open_descriptors
from support.early_peers import early_peer
from support.frames import udp_over_ipv6, write_frame
from support.namespaces import namespace, needs_root
from support.processes import running
from support.seccomp import deny_option_in_this_thread
from support.silent import silent
from support.windows import IGNORES_SOURCES, WINDOWS, lacking_in_wine
from zope.interface.verify import verifyObject

from dsadapter import hookimpl
from dsadapter.errors import NotDualStackError, RefusedError
from dsadapter.frameworks import get_framework
from dsadapter.frameworks.blocking import (
    DualStackMixin,
    TranslatingSocket,
    create_connection,
    create_server,
)
from dsadapter.interfaces import IFrameworkAdapter
from dsadapter.policy import ConnectPolicy, DatagramPolicy, ListenPolicy
from dsadapter.sockets.control_messages import MSG_DONTWAIT
from dsadapter.testing import RecordingPlugin, registered

PATIENCE = 30
IPV6_ADDRFORM = 1
HOSTS = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
EARLY = pytest.mark.parametrize("deed", ["stays", "half-closes"])
NEVER = pytest.mark.parametrize(
    "kernel",
    ["helps", pytest.param("refuses", marks=pytest.mark.not_on_windows("has no IPV6_ADDRFORM"))],
)


@pytest.fixture
def recording() -> Iterator[RecordingPlugin]:
    with registered(RecordingPlugin()) as plugin:
        yield plugin


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


class TestRegistry:
    def test_it_is_a_framework_like_any_other(self) -> None:
        adapter: Any = get_framework("blocking")
        assert verifyObject(IFrameworkAdapter, adapter)
        with adapter.server(None, ListenPolicy("::", 0)).listen() as server:
            target = ("127.0.0.1", port_of(server))
            with adapter.client(None, target, ConnectPolicy()).connect() as client:
                accepted, address = server.accept()
                with accepted:
                    assert address == client.getsockname()
        with adapter.datagram(None, DatagramPolicy("::", 0)).bind() as sock:
            assert sock.mode == "dual-stack"

    def test_a_target_that_is_none_is_refused_at_once(self) -> None:
        factory: Any = get_framework("blocking").client
        with pytest.raises(ValueError, match=r"127\.1"):
            factory(None, ("127.1", 80), ConnectPolicy())

    def test_importing_it_brings_no_other_framework(self) -> None:
        program = (
            "import sys\n"
            "from dsadapter.frameworks.blocking import *\n"
            "print(sorted({'twisted', 'asyncio', 'trio', 'ssl'} & sys.modules.keys()))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
        assert done.stdout.strip() == b"[]"


class TestSignatures:
    @pytest.mark.parametrize(
        ("ours", "theirs", "extras", "changed"),
        [
            (
                create_server,
                socket.create_server,
                {"fallback", "device", "proxy_from", "proxy_timeout"},
                {"family"},
            ),
            (
                create_connection,
                socket.create_connection,
                {
                    *("attempt_delay", "first_address_family_count"),
                    *("remember_outcomes", "mapped_addresses"),
                },
                set(),
            ),
        ],
    )
    def test_they_are_the_socket_modules_and_a_few_keywords_more(
        self, ours: Any, theirs: Any, extras: set[str], changed: set[str]
    ) -> None:
        mine = inspect.signature(ours).parameters
        for name, parameter in inspect.signature(theirs).parameters.items():
            assert mine[name].kind is parameter.kind
            if name not in changed:
                assert mine[name].default == parameter.default
        assert mine.keys() - inspect.signature(theirs).parameters.keys() == extras
        assert all(mine[name].kind is inspect.Parameter.KEYWORD_ONLY for name in extras)


class TestServer:
    @pytest.mark.parametrize(
        ("host", "options", "mode"),
        [
            ("", {}, "dual-stack"),
            ("::", {}, "dual-stack"),
            ("::", {"family": socket.AF_INET6, "dualstack_ipv6": True}, "dual-stack"),
            ("", {"family": socket.AF_INET6}, "ipv6"),
            ("", {"family": socket.AF_INET}, "ipv4"),
            ("127.0.0.1", {}, "ipv4"),
            ("::1", {}, "ipv6"),
        ],
    )
    def test_it_serves_what_was_asked_for(self, host: str, options: Any, mode: str) -> None:
        with create_server((host, 0), **options) as server:
            assert server.mode == mode
            assert server.gettimeout() is None

    def test_wrong_values_are_named(self) -> None:
        for options in ({"family": 1}, {"backlog": 0}, {"fallback": "pair"}):
            with pytest.raises(ValueError, match=str(next(iter(options)))):
                create_server(("", 0), **options)  # type: ignore[arg-type]

    @HOSTS
    @EARLY
    def test_what_it_accepts_is_canonical_and_watched(
        self, host: str, deed: str, recording: RecordingPlugin
    ) -> None:
        with create_server(("", 0)) as server:
            with early_peer(host, port_of(server), deed) as peer:
                accepted, address = server.accept()
                with accepted:
                    assert address == accepted.getpeername() == peer.name
                    assert accepted.getsockname() == peer.server
                    assert accepted.recv(100) == b"request"
        assert [event.hook for event in recording.events] == [
            *("before_bind", "listener_opened", "connection_made", "connection_lost"),
            "listener_closed",
        ]
        assert recording.of("connection_made")[0].framework == "blocking"


class TestConnecting:
    def test_a_port_that_is_no_service_is_named(self) -> None:
        with pytest.raises(socket.gaierror, match="'htpp' is no number and no service"):
            create_connection(("127.0.0.1", "htpp"))

    @HOSTS
    def test_a_literal(self, host: str, recording: RecordingPlugin) -> None:
        before = open_descriptors()
        with create_server(("", 0)) as server:
            with create_connection((host, port_of(server)), 7) as client:
                accepted, address = server.accept()
                with accepted:
                    assert client.getpeername()[:2] == (host, port_of(server))
                    assert client.getsockname() == address
                    assert client.gettimeout() == 7
                    made = recording.of("connection_made")
                    assert [record.direction for record in made] == ["outbound", "inbound"]
                    assert made[0].peer == client.getpeername()
        assert len(recording.of("connection_lost")) == 2
        assert open_descriptors() <= before

    def test_a_name_whose_first_addresses_do_not_answer(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Refused, and silent: the next is tried at once, and after the delay."""
        with silent("::1") as port, create_server(("127.0.0.1", port)):

            def look_up(*_arguments: Any, **_options: Any) -> Any:
                return [
                    (socket.AF_INET6, 1, 6, "", (host, 0, 0, 0))
                    for host in ("::1", "::ffff:127.0.0.1")
                ]

            monkeypatch.setattr(socket, "getaddrinfo", look_up)
            with create_connection(("name.example", port), 20, attempt_delay=0.05) as client:
                assert client.getpeername() == ("127.0.0.1", port)

    def test_the_default_timeout_is_the_sockets(self) -> None:
        socket.setdefaulttimeout(11)
        try:
            with create_server(("", 0)) as server:
                with create_connection(("127.0.0.1", port_of(server))) as client:
                    assert client.gettimeout() == 11
        finally:
            socket.setdefaulttimeout(None)

    def test_the_source_is_chosen(self) -> None:
        with create_server(("", 0)) as server:
            port = port_of(server)
            with create_connection(("127.0.0.1", port), source_address=("127.0.0.9", 0)):
                accepted, address = server.accept()
                accepted.close()
                assert address[0] == "127.0.0.9"
            with pytest.raises(OSError, match="source_address"):
                create_connection(("127.0.0.1", port), source_address=("::1", 0))

    def test_all_failures_are_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as busy:
            port = busy.getsockname()[1]
        before = open_descriptors()
        with pytest.raises(ConnectionRefusedError) as refused:
            create_connection(("127.0.0.1", port), 5)
        told = rf"127\.0\.0\.1:{port} after [0-9.]+ s: Connection refused"
        assert re.search(told, str(refused.value))
        with pytest.raises(ExceptionGroup) as group:
            create_connection(("127.0.0.1", port), 5, all_errors=True)
        assert [type(error) for error in group.value.exceptions] == [ConnectionRefusedError]

        def fails(*_arguments: Any) -> Any:
            raise socket.gaierror(socket.EAI_AGAIN, "try again")

        monkeypatch.setattr(socket, "getaddrinfo", fails)
        with pytest.raises(socket.gaierror, match="try again") as unresolved:
            create_connection(("name.example", port), 5)
        assert unresolved.value.errno == socket.EAI_AGAIN
        assert open_descriptors() <= before

    def test_time_that_is_over(self) -> None:
        before = open_descriptors()
        with silent("127.0.0.1") as port, pytest.raises(TimeoutError, match="no answer"):
            create_connection(("127.0.0.1", port), 0.2)
        assert open_descriptors() <= before

    def test_a_refusal_by_a_plugin(self, recording: RecordingPlugin) -> None:
        class Refusing:
            @hookimpl
            def dsadapter_before_connect(self, attempt: Any) -> None:
                raise PermissionError("not there")

        with registered(Refusing()), pytest.raises((RefusedError, OSError), match="not there"):
            create_connection(("127.0.0.1", 80), 5)
        assert len(recording.of("operation_refused")) == 1

    def test_http_client_connects_with_it(self) -> None:
        class Server(DualStackMixin, http.server.ThreadingHTTPServer):
            pass

        with serving(Server(("", 0), Names)) as port:
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            client._create_connection = create_connection  # type: ignore[attr-defined]
            client.request("GET", "/")
            assert client.getresponse().read().startswith(b"(('127.0.0.1'")
            client.close()


class Names(http.server.BaseHTTPRequestHandler):
    """Answers with every name that a handler has."""

    logged: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        names = (self.client_address, self.connection.getpeername(), self.connection.getsockname())
        body = repr(names).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        self.logged.append(f"{self.address_string()} {format % args}")


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert self.rfile.read(7) == b"request"
        names = (self.client_address, self.request.getpeername(), self.request.getsockname())
        self.wfile.write(repr(names).encode())


@contextlib.contextmanager
def serving(server: Any) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield port_of(server.socket)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class ThreadingTCP(DualStackMixin, socketserver.ThreadingTCPServer):
    pass


class PlainTCP(DualStackMixin, socketserver.TCPServer):
    pass


KINDS: list[Any] = [PlainTCP, ThreadingTCP]
MIXED: list[Any] = [socketserver.ThreadingMixIn]
if not WINDOWS:
    KINDS.append(type("ForkingTCP", (DualStackMixin, socketserver.ForkingTCPServer), {}))
    MIXED.append(socketserver.ForkingMixIn)


def answer_of(client: socket.socket) -> bytes:
    client.settimeout(PATIENCE)
    return b"".join(iter(lambda: client.recv(1000), b""))


class TestMixin:
    @HOSTS
    @EARLY
    @NEVER
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
    def test_handlers_see_canonical_names(
        self, kind: Any, host: str, deed: str, kernel: str, recording: RecordingPlugin
    ) -> None:
        before = open_descriptors()

        def serve() -> None:
            if kernel == "refuses":
                deny_option_in_this_thread(socket.IPPROTO_IPV6, IPV6_ADDRFORM, errno.ENOPROTOOPT)
            with serving(kind(("", 0), Echo)) as port, early_peer(host, port, deed) as peer:
                names = (peer.name, peer.name, peer.server)
                assert answer_of(peer.client) == repr(names).encode()

        # The filter is for a thread, and those it starts.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(serve).result()
        hooks = [event.hook for event in recording.events]
        assert sorted(hooks) == [
            *("before_bind", "connection_lost", "connection_made"),
            *("listener_closed", "listener_opened"),
        ]
        assert open_descriptors() <= before

    @pytest.mark.parametrize(
        ("address", "mode"),
        [(("", 0), "dual-stack"), (("127.0.0.1", 0), "ipv4"), (("::1", 0), "ipv6")],
    )
    def test_the_address_means_what_it_means_everywhere(self, address: Any, mode: str) -> None:
        with PlainTCP(address, Echo) as server:
            assert server.socket.mode == mode
            assert server.server_address == server.socket.getsockname()

    def test_an_address_that_can_not_be_listened_on(self) -> None:
        before = open_descriptors()
        with pytest.raises(ValueError, match="localhost"):
            PlainTCP(("localhost", 0), Echo)
        with create_server(("", 0)) as holder, pytest.raises(OSError, match="held by another"):
            PlainTCP(("", port_of(holder)), Echo)
        assert open_descriptors() <= before

    def test_it_comes_before_the_server(self) -> None:
        class Logging:
            def server_bind(self) -> None:
                super().server_bind()  # type: ignore[misc]

        with pytest.raises(TypeError, match=r"write class Late\(DualStackMixin, ThreadingTCP"):
            type("Late", (socketserver.ThreadingTCPServer, DualStackMixin), {})
        kind: Any = type("Early", (Logging, DualStackMixin, socketserver.TCPServer), {})
        with kind(("", 0), Echo) as server:
            assert server.socket.mode == "dual-stack"

    @pytest.mark.parametrize("address", ["::", None, ("::",), 8080])
    def test_what_is_no_address(self, address: Any) -> None:
        before = open_descriptors()
        for make in (PlainTCP, lambda address, _: create_server(address)):
            with pytest.raises(ValueError, match=r"is not two items; give \(host, port\)"):
                make(address, Echo)
        with pytest.raises(ValueError, match=r"is not two items; give \(host, port\)"):
            create_connection(address)
        assert open_descriptors() <= before

    @HOSTS
    @pytest.mark.parametrize("tls", [False, True])
    def test_http_server(self, host: str, tls: bool, tmp_path: Path) -> None:
        class Server(DualStackMixin, http.server.ThreadingHTTPServer):
            pass

        files = Files.written_to(tmp_path)
        Names.logged.clear()
        server = Server(("", 0), Names)
        client: http.client.HTTPConnection
        port = server.server_port
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(files.full_chain, files.key)
            context.sslsocket_class = server.socket.sslsocket_class
            server.socket = context.wrap_socket(server.socket, server_side=True)
            trust = ssl.create_default_context(cafile=files.root)
            trust.check_hostname = False
            client = http.client.HTTPSConnection(host, port, timeout=PATIENCE, context=trust)
        else:
            client = http.client.HTTPConnection(host, port, timeout=PATIENCE)
        with serving(server):
            client.connect()
            name, theirs = client.sock.getsockname(), client.sock.getpeername()
            client.request("GET", "/")
            assert client.getresponse().read() == repr((name, name, theirs)).encode()
            client.close()
        assert Names.logged[0].startswith(f"{host} ")

    @HOSTS
    def test_wsgiref(self, host: str, capfd: pytest.CaptureFixture[str]) -> None:
        class Server(DualStackMixin, wsgiref.simple_server.WSGIServer):
            pass

        def application(environ: Any, start_response: Callable[..., Any]) -> list[bytes]:
            start_response("200 OK", [])
            return [environ["REMOTE_ADDR"].encode()]

        server = Server(("", 0), wsgiref.simple_server.WSGIRequestHandler)
        server.set_app(application)
        with serving(server) as port:
            client = http.client.HTTPConnection(host, port, timeout=PATIENCE)
            client.request("GET", "/")
            assert client.getresponse().read().decode() == host
            client.close()
        assert capfd.readouterr().err.startswith(f"{host} - - ")

    @HOSTS
    def test_xmlrpc(self, host: str) -> None:
        class Server(DualStackMixin, xmlrpc.server.SimpleXMLRPCServer):
            pass

        server = Server(("", 0), logRequests=False)
        server.register_function(pow)
        with serving(server) as port:
            where = f"[{host}]" if ":" in host else host
            with xmlrpc.client.ServerProxy(f"http://{where}:{port}") as proxy:
                assert proxy.pow(2, 5) == 32

    @needs_root
    def test_the_program_of_the_page(self, tmp_path: Path) -> None:
        page = Path(__file__).parents[2] / "docs" / "blocking.md"
        _, _, rest = page.read_text().partition("```python server.py\n")
        text, _, _ = rest.partition("```")
        program = tmp_path / "server.py"
        program.write_text(text)
        with namespace() as place, place.entered():
            with running(program) as server:
                for host in ("127.0.0.1", "[::1]"):
                    command = ["curl", "-s", "--retry-connrefused", "--retry", "20"]
                    done = subprocess.run(
                        [*command, "--retry-delay", "1", f"http://{host}:8080/"],
                        capture_output=True,
                        check=True,
                        text=True,
                    )
                    assert done.stdout == f"hello {host.strip('[]')}\n"
                    server.wait_for_log(f"{host.strip('[]')} - - ")

    @pytest.mark.not_on_windows("has no list of a process's descriptors")
    def test_descriptors_are_as_many_as_of_the_plain_server(self) -> None:
        counts = []
        for kind in (socketserver.ThreadingTCPServer, ThreadingTCP):
            before = len(open_descriptors())
            with kind(("", 0), Echo):
                counts.append(len(open_descriptors()) - before)
        assert counts == [1, 1]


class TestTranslatingSocket:
    @HOSTS
    def test_it_listens_accepts_and_connects_with_plain_addresses(self, host: str) -> None:
        with TranslatingSocket() as server, TranslatingSocket() as client:
            server.settimeout(PATIENCE)
            assert server.mode == client.mode == "dual-stack"
            server.bind(("", 0))
            server.listen()
            client.connect((host, port_of(server)))
            accepted, address = server.accept()
            with accepted:
                assert address == accepted.getpeername() == client.getsockname()
                assert client.getpeername() == accepted.getsockname()
                assert address[0] == host

    def test_a_mapped_address_is_IPv4_on_any_socket(self) -> None:
        with create_server(("127.0.0.1", 0)) as server:
            for family in (socket.AF_INET, socket.AF_INET6):
                with TranslatingSocket(family) as client:
                    assert client.connect_ex(("::ffff:127.0.0.1", port_of(server))) == 0
                    assert client.getpeername() == server.getsockname()

    @pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
    @pytest.mark.parametrize(
        ("host", "mode"), [("127.0.0.1", "ipv4"), ("0.0.0.0", "ipv4"), ("", "dual-stack")]
    )
    def test_its_mode_is_what_it_is_bound_to(self, kind: int, host: str, mode: str) -> None:
        with TranslatingSocket(type=kind) as sock:
            assert sock.mode == "dual-stack"
            sock.bind((host, 0))
            assert sock.mode == mode

    def test_a_name_stands_for_its_first_address(self) -> None:
        with create_server(("", 0)) as server, TranslatingSocket() as client:
            client.connect(("localhost", port_of(server)))
            assert ipaddress.ip_address(client.getpeername()[0]).is_loopback

    def test_an_address_that_the_socket_can_not_take_is_named(self) -> None:
        with TranslatingSocket(socket.AF_INET) as sock:
            with pytest.raises(NotDualStackError, match=r"'::1' is IPv6, .* without a family"):
                sock.connect(("::1", 80))
        with TranslatingSocket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
            with pytest.raises(NotDualStackError, match=r"'127\.0\.0\.1' is IPv4, but this socket"):
                sock.connect(("127.0.0.1", 80))
        with TranslatingSocket() as sock, pytest.raises(ValueError, match=r"127\.1"):
            sock.connect(("127.1", 80))

    @pytest.mark.not_on_windows("names no family that a bound socket lacks")
    @pytest.mark.parametrize(
        ("kind", "deed"),
        [
            (socket.SOCK_STREAM, lambda sock, to: sock.connect(to)),
            (socket.SOCK_DGRAM, lambda sock, to: sock.connect(to)),
            (socket.SOCK_DGRAM, lambda sock, to: sock.sendto(b"x", to)),
            (socket.SOCK_DGRAM, lambda sock, to: sock.send_datagram(b"x", to)),
            (socket.SOCK_DGRAM, lambda sock, to: sock.sendmsg([b"x"], [], 0, to)),
        ],
    )
    def test_an_IPv4_address_of_its_own_takes_no_IPv6(self, kind: int, deed: Any) -> None:
        with TranslatingSocket(type=kind) as sock:
            sock.bind(("127.0.0.1", 0))
            says = r"'::1' is IPv6, but this socket is bound to the IPv4 address 127\.0\.0\.1; bind"
            with pytest.raises(NotDualStackError, match=says):
                deed(sock, ("::1", 9))

    @HOSTS
    def test_tls_on_a_socket_that_connects_later(self, host: str, tmp_path: Path) -> None:
        files = Files.written_to(tmp_path)
        with create_server(("", 0)) as server, TranslatingSocket() as plain:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(files.full_chain, files.key)
            context.sslsocket_class = server.sslsocket_class
            trust = ssl.create_default_context(cafile=files.root)
            trust.sslsocket_class = plain.sslsocket_class
            secured = context.wrap_socket(server, server_side=True)
            secured.settimeout(PATIENCE)
            with ThreadPoolExecutor(1) as thread, secured:
                accepting = thread.submit(secured.accept)
                with trust.wrap_socket(plain, server_hostname="localhost") as client:
                    client.settimeout(PATIENCE)
                    client.connect((host, port_of(secured)))
                    accepted, address = accepting.result()
                    with accepted:
                        assert address == accepted.getpeername() == client.getsockname()
                        assert client.getpeername()[0] == host

    @pytest.mark.not_on_windows("has no AF_UNIX in Python")
    def test_other_families_are_plain(self, tmp_path: Path) -> None:
        with TranslatingSocket(socket.AF_UNIX) as server, TranslatingSocket(socket.AF_UNIX) as c:
            server.bind(str(tmp_path / "socket"))
            server.listen()
            c.connect(str(tmp_path / "socket"))
            accepted, address = server.accept()
            accepted.close()
            assert address == ""


class TestDatagrams:
    @HOSTS
    def test_datagrams_come_with_plain_senders_and_where_they_arrived(self, host: str) -> None:
        with TranslatingSocket(type=socket.SOCK_DGRAM) as server:
            server.settimeout(PATIENCE)
            server.bind(("", 0))
            with TranslatingSocket(type=socket.SOCK_DGRAM) as client:
                client.settimeout(PATIENCE)
                client.sendto(b"request", (host, port_of(server)))
                data, sender, info = server.receive_datagram(100)
                assert data == b"request"
                assert sender == (host, port_of(client))
                assert info is not None
                assert info.destination == host
                server.sendto(b"answer", sender)
                assert client.recvfrom(100) == (b"answer", (host, port_of(server)))

    @pytest.mark.parametrize(
        "receive",
        [
            lambda sock: sock.recvfrom(3),
            lambda sock: sock.recvmsg(3)[::3],
            lambda sock: (sock.recv(3), None),
            lambda sock: into(sock.recvfrom_into, 3),
            lambda sock: (into(sock.recv_into, 3), None),
            lambda sock: into(lambda buffer: sock.recvmsg_into([buffer])[::3], 3),
        ],
    )
    def test_every_way_to_receive_cuts_as_the_plain_one(self, receive: Any) -> None:
        with TranslatingSocket(type=socket.SOCK_DGRAM) as server:
            server.settimeout(PATIENCE)
            server.bind(("", 0))
            with socket.socket(type=socket.SOCK_DGRAM) as client:
                client.sendto(b"request", ("127.0.0.1", port_of(server)))
                data, sender = receive(server)
                assert data == b"req"
                assert sender in (None, ("127.0.0.1", port_of(client)))

    def test_nothing_waits(self) -> None:
        with TranslatingSocket(type=socket.SOCK_DGRAM) as sock:
            sock.bind(("", 0))
            with pytest.raises(BlockingIOError):
                sock.recvfrom(100, MSG_DONTWAIT)
            sock.settimeout(0.05)
            with pytest.raises(TimeoutError):
                sock.recvfrom(100)

    @lacking_in_wine(IGNORES_SOURCES)
    @pytest.mark.parametrize("source", ["127.0.0.7", "127.0.0.8"])
    def test_an_answer_leaves_from_where_the_request_came_to(self, source: str) -> None:
        class Server(DualStackMixin, socketserver.UDPServer):
            pass

        class Handler(socketserver.DatagramRequestHandler):
            def handle(self) -> None:
                self.wfile.write(self.client_address[0].encode())

        with serving(Server(("", 0), Handler)) as port:
            with socket.socket(type=socket.SOCK_DGRAM) as client:
                client.settimeout(PATIENCE)
                client.bind(("127.0.0.1", 0))
                client.sendto(b"request", (source, port))
                # Not connected, it is told at once of an answer from elsewhere.
                assert client.recvfrom(100) == (b"127.0.0.1", (source, port))

    @HOSTS
    @pytest.mark.parametrize("mixed", MIXED)
    @pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
    def test_udp_servers(self, host: str, mixed: Any, recording: RecordingPlugin) -> None:
        class Server(DualStackMixin, mixed, socketserver.UDPServer):  # type: ignore[misc]
            pass

        class Handler(socketserver.DatagramRequestHandler):
            def handle(self) -> None:
                self.wfile.write(repr(tuple(self.client_address)).encode())

        before = open_descriptors()
        with serving(Server(("", 0), Handler)) as port:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as client:
                client.settimeout(PATIENCE)
                client.connect((host, port))
                client.send(b"request")
                assert client.recv(100) == repr(client.getsockname()[:2]).encode()
        assert [event.hook for event in recording.events] == [
            *("before_bind", "listener_opened", "listener_closed")
        ]
        assert open_descriptors() <= before

    @lacking_in_wine(IGNORES_SOURCES)
    def test_a_source_is_chosen(self) -> None:
        with TranslatingSocket(type=socket.SOCK_DGRAM) as sock:
            sock.bind(("", 0))
            with socket.socket(type=socket.SOCK_DGRAM) as other:
                other.settimeout(PATIENCE)
                other.bind(("127.0.0.1", 0))
                sock.send_datagram(b"x", other.getsockname(), source="127.0.0.5")  # type: ignore[attr-defined]
                assert other.recvfrom(10) == (b"x", ("127.0.0.5", port_of(sock)))
            with pytest.raises(ValueError, match="is IPv6"):
                sock.send_datagram(b"x", ("127.0.0.1", 9), source="::1")  # type: ignore[attr-defined]
            with pytest.raises(ValueError, match="5 is not an address; give"):
                sock.send_datagram(b"x", 5)  # type: ignore[attr-defined]

    @needs_root
    def test_a_broadcast_by_its_name(self) -> None:
        with namespace() as place:
            place.add_addresses("lo", "10.1.0.1")
            with place.entered(), TranslatingSocket(type=socket.SOCK_DGRAM) as sock:
                for allowed in (0, 1):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, allowed)
                    with pytest.raises(OSError) as failed:
                        sock.sendto(b"x", ("<broadcast>", 9))
                    assert failed.value.errno == errno.ENETUNREACH
                assert "255.255.255.255:9" in str(failed.value)

    @needs_root
    @pytest.mark.parametrize("peek", [False, True])
    def test_a_forged_datagram_is_dropped_and_counted(self, peek: bool) -> None:
        with namespace() as place, place.entered():
            with TranslatingSocket(type=socket.SOCK_DGRAM) as server:
                server.settimeout(0.2)
                server.bind(("", 0))
                port = port_of(server)
                packet = udp_over_ipv6("::ffff:127.0.0.1", 99, "::1", port, b"forged")
                with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as plain:
                    plain.settimeout(PATIENCE)
                    plain.bind(("::1", 0))
                    there = plain.getsockname()[1]
                    write_frame(
                        "lo", udp_over_ipv6("::ffff:127.0.0.1", 99, "::1", there, b"forged")
                    )
                    assert plain.recvfrom(100)[1][0] == "::ffff:127.0.0.1"
                write_frame("lo", packet)
                flags = socket.MSG_PEEK if peek else 0
                with pytest.raises(TimeoutError):
                    server.recvfrom(100, flags)
                counters: Any = server.counters  # type: ignore[attr-defined]
                assert (counters.received, counters.forged) == (0, 1)
                with socket.socket(type=socket.SOCK_DGRAM) as client:
                    client.sendto(b"real", ("127.0.0.1", port))
                    assert server.recvfrom(100)[0] == b"real"

    @needs_root
    def test_a_server_that_got_a_forged_datagram_alone_can_be_shut_down(self) -> None:
        class Server(DualStackMixin, socketserver.UDPServer):
            pass

        with namespace() as place, place.entered():
            server = Server(("", 0), socketserver.DatagramRequestHandler)
            with serving(server) as port:
                write_frame("lo", udp_over_ipv6("::ffff:127.0.0.1", 99, "::1", port, b"forged"))
                deadline = time.monotonic() + PATIENCE
                while not server.socket.counters.forged:
                    assert time.monotonic() < deadline
                    time.sleep(0.001)


def into(receive: Callable[[bytearray], Any], size: int) -> Any:
    buffer = bytearray(size)
    told = receive(buffer)
    return (bytes(buffer), told[1]) if isinstance(told, tuple) else bytes(buffer)
