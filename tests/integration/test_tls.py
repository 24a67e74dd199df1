"""TLS around dual-stack listeners, by strings and in Python, with real handshakes.

What shows an address also runs on Twisted's own endpoints on ``::``, where the same observation has
to find the mapped address.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from support.certificates import Authority, Files, in_string, issue, older_pyopenssl_api
from support.processes import PATIENCE, running
from support.reactors import Reactor, open_descriptors
from support.versions import SERVES_DIRECTORIES, lacking
from support.windows import nothing_is_mapped, runs_tools
from twisted.internet import tcp
from twisted.internet.endpoints import (
    TCP6ClientEndpoint,
    TCP6ServerEndpoint,
    serverFromString,
    wrapClientTLS,
)
from twisted.internet.interfaces import IHandshakeListener, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.protocols.haproxy import proxyEndpoint
from zope.interface import implementer

from dsadapter.frameworks.twisted import DualStackClientEndpoint, DualStackServerEndpoint
from dsadapter.frameworks.twisted.tls import connectionCreatorFromFiles, wrapServerTLS
from dsadapter.testing import RecordingPlugin, registered

WEB = Path(__file__).parent / "servers" / "tls_web.py"
pytestmark = older_pyopenssl_api
MAPPED = "::ffff:127.0.0.1"
STAGES = ("built", "made", "handshake", "data", "lost")
with_directories = pytest.mark.skipif(
    not SERVES_DIRECTORIES, reason=lacking("has no tls: server strings")
)


@implementer(IHandshakeListener)
class Witness(Protocol):
    """Notes both addresses at every stage of a connection, and answers what it gets."""

    def __init__(self, seen: list[tuple[str, str, str]]) -> None:
        self.seen = seen

    def note(self, stage: str) -> None:
        assert self.transport is not None
        self.seen.append((stage, self.transport.getPeer().host, self.transport.getHost().host))

    def connectionMade(self) -> None:
        self.note("made")

    def handshakeCompleted(self) -> None:
        self.note("handshake")

    def dataReceived(self, data: bytes) -> None:
        self.note("data")
        self.transport.write(data)

    def connectionLost(self, reason: Any = None) -> None:
        # The socket is gone; the peer stays known.
        self.seen.append(("lost", self.transport.getPeer().host, ""))


class WitnessFactory(Factory):
    noisy = False

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []

    def buildProtocol(self, addr: Any) -> Witness:
        self.seen.append(("built", addr.host, ""))
        return Witness(self.seen)

    def has(self, stage: str) -> bool:
        return any(each[0] == stage for each in self.seen)

    def addresses(self) -> set[str]:
        return {address for each in self.seen for address in each[1:] if address}

    def stages(self) -> tuple[str, ...]:
        return tuple(each[0] for each in self.seen)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files.written_to(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


needs_global_clock = pytest.mark.usefixtures("global_clock")


class Clients:
    """Blocking clients, each in a thread, while the reactor takes its turns."""

    def __init__(self, reactor: Reactor, pool: ThreadPoolExecutor, files: Files) -> None:
        self.reactor = reactor
        self.pool = pool
        self.files = files

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        future = self.pool.submit(function, *args)
        self.reactor.until(future.done)
        return future.result()

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.files.root))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def talk(
        self,
        host: str,
        port: int,
        *,
        name: str = "localhost",
        first: bytes = b"",
        inside: bytes = b"",
        context: ssl.SSLContext | None = None,
    ) -> tuple[Any, str | None]:
        """Verify the server, send something and have it back; the names of the certificate and the
        protocol that was agreed on.

        :param first: sent before the handshake.
        :param inside: sent first after it, and not answered.
        """
        context = context or self.context()

        def client() -> tuple[Any, str | None]:
            with socket.create_connection((host, port), timeout=PATIENCE) as plain:
                plain.sendall(first)
                with context.wrap_socket(plain, server_hostname=name or None) as wrapped:
                    wrapped.sendall(inside + b"hello")
                    assert wrapped.recv(5) == b"hello"
                    names = wrapped.getpeercert()["subjectAltName"]
                    return [value for _, value in names], wrapped.selected_alpn_protocol()

        return self.run(client)

    def certificates(self, port: int, name: str) -> int:
        """How many the server sends."""
        command = ["openssl", "s_client", "-showcerts", "-servername", name]
        shown: str = self.run(
            lambda: subprocess.run(
                [*command, "-connect", f"127.0.0.1:{port}"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
        ).stdout
        return shown.count("-----BEGIN CERTIFICATE-----")

    def exchange(self, host: str, port: int, data: bytes) -> bytes:
        """Send something in plain text, and return the first answer."""

        def client() -> bytes:
            with socket.create_connection((host, port), timeout=PATIENCE) as plain:
                plain.sendall(data)
                return plain.recv(100)

        return self.run(client)


def curl(family: str, port: int, *options: str, name: str = "localhost") -> str:
    host = "127.0.0.1" if family == "-4" else "[::1]"
    resolve = f"{name}:{port}:{host}"
    command = ["curl", family, "-sS", "--noproxy", "*", "--resolve", resolve, *options]
    done = subprocess.run(
        [*command, f"https://{name}:{port}/"], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def clients(reactor: Reactor, pool: ThreadPoolExecutor, files: Files) -> Clients:
    return Clients(reactor, pool, files)


@contextlib.contextmanager
def listening(reactor: Reactor, endpoint: IStreamServerEndpoint, factory: Factory) -> Iterator[int]:
    """The port; afterwards it is closed, and no descriptor is left."""
    tcp._reservedFD.reserve()  # The first port that listens opens it for good.
    before, watched = open_descriptors(), reactor.getReaders()
    port = reactor.result_of(endpoint.listen(factory))
    yield port.getHost().port
    reactor.result_of(port.stopListening())
    reactor.until(lambda: reactor.getReaders() == watched and not reactor.getWriters())
    reactor.until(lambda: open_descriptors() <= before)


Make = Callable[[Reactor, Files], IStreamServerEndpoint]


def string(template: str) -> Make:
    return lambda reactor, files: serverFromString(reactor, files.filled(template))


def creator(files: Files) -> Any:
    return connectionCreatorFromFiles(str(files.key), str(files.full_chain))


def wrapped(inner: Callable[[Reactor], IStreamServerEndpoint]) -> Make:
    return lambda reactor, files: wrapServerTLS(creator(files), inner(reactor), reactor)


class Case(NamedTuple):
    ours: Make
    """TLS on a dual-stack listener."""
    twisteds: Make
    """The same of Twisted's own, on ``::``."""


CASES = {
    "files": Case(
        string("dualstack:0:privateKey={key}:certKey={certificate}:extraCertChain={chain}"),
        string(
            r"ssl:0:interface=\:\::privateKey={key}:certKey={certificate}:extraCertChain={chain}"
        ),
    ),
    "directory": Case(string("dualstack:0:tls={directory}"), string("tls:{directory}:port=0")),
    "in Python": Case(
        wrapped(lambda reactor: DualStackServerEndpoint(reactor, 0)),
        wrapped(lambda reactor: TCP6ServerEndpoint(reactor, 0, interface="::")),
    ),
}
rows = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@rows
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_addresses_are_canonical_before_and_after_the_handshake(
    case: Case, host: str, reactor: Reactor, files: Files, clients: Clients
) -> None:
    factory = WitnessFactory()
    with listening(reactor, case.ours(reactor, files), factory) as port:
        clients.talk(host, port)
        reactor.until(lambda: factory.has("lost"))
    assert factory.stages() == STAGES
    assert factory.addresses() == {host}


@needs_global_clock
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name, marks=[with_directories] if name == "directory" else [])
        for name, case in CASES.items()
    ],
)
@nothing_is_mapped
def test_the_same_on_twisteds_own_endpoint_finds_the_leak(
    case: Case, reactor: Reactor, files: Files, clients: Clients
) -> None:
    factory = WitnessFactory()
    with listening(reactor, case.twisteds(reactor, files), factory) as port:
        clients.talk("127.0.0.1", port)
        reactor.until(lambda: factory.has("lost"))
    assert factory.stages() == STAGES
    assert factory.addresses() == {MAPPED}


@pytest.mark.parametrize(
    "options",
    [
        "privateKey={key}:certKey={full_chain}",
        "privateKey={key}:certKey={full_chain}:extraCertChain={chain}",
        "tls={directory}",
    ],
)
@runs_tools
def test_the_chain_is_sent_once(
    options: str, reactor: Reactor, files: Files, clients: Clients
) -> None:
    endpoint = string("dualstack:0:" + options)(reactor, files)
    with listening(reactor, endpoint, WitnessFactory()) as port:
        assert clients.certificates(port, "localhost") == 2


@runs_tools
def test_diffie_hellman_parameters_are_used(
    reactor: Reactor, clients: Clients, tmp_path: Path
) -> None:
    authority = Authority.made()
    # DHE suites take RSA certificates only.
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    server = issue("rsa.example", authority.intermediate, "rsa.example", key=key)
    pem = tmp_path / "server.pem"
    pem.write_bytes(server.key_pem() + server.pem + authority.intermediate.pem)
    parameters = tmp_path / "dh.pem"
    # A named group (RFC 7919): making a prime takes minutes.
    generate = ["openssl", "genpkey", "-genparam", "-algorithm", "DH"]
    subprocess.run([*generate, "-pkeyopt", "group:ffdhe2048", "-out", str(parameters)], check=True)
    context = clients.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("DHE")
    for options, succeeds in (("", False), (f":dhParameters={in_string(parameters)}", True)):
        endpoint = serverFromString(reactor, f"dualstack:0:privateKey={in_string(pem)}{options}")
        with listening(reactor, endpoint, WitnessFactory()) as port:
            with contextlib.nullcontext() if succeeds else pytest.raises(ssl.SSLError):
                clients.talk("127.0.0.1", port, name="rsa.example", context=context)


BOTH = pytest.mark.parametrize(
    "description",
    ["dualstack:0:tls={}", pytest.param("tls:{}:0", marks=(with_directories, nothing_is_mapped))],
)


def root() -> bytes:
    return Authority.made().root.pem


def ring() -> bytes:
    """The root, but certified by the one that it has certified."""
    authority = Authority.made()
    return issue("Root of the tests", authority.intermediate, key=authority.root.key).pem


def another_authority() -> bytes:
    return issue("Somebody else").pem


def parameters() -> bytes:
    """What ``openssl ecparam -genkey`` writes before a key."""
    return b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"


@needs_global_clock
class TestDirectories:
    @BOTH
    @pytest.mark.parametrize(
        ("name", "names"),
        [
            ("a.example", ["a.example", "localhost", "127.0.0.1", "0:0:0:0:0:0:0:1"]),
            ("b.example", ["b.example", "*.b.example"]),
            ("www.b.example", ["b.example", "*.b.example"]),
        ],
    )
    def test_the_certificate_is_of_the_name_that_is_asked_for(
        self,
        description: str,
        name: str,
        names: list[str],
        reactor: Reactor,
        files: Files,
        clients: Clients,
    ) -> None:
        endpoint = serverFromString(reactor, description.format(in_string(files.directory)))
        with listening(reactor, endpoint, WitnessFactory()) as port:
            for host in ("127.0.0.1", "::1"):
                assert clients.talk(host, port, name=name)[0] == names

    def test_a_name_has_no_case(self, reactor: Reactor, files: Files, clients: Clients) -> None:
        endpoint = serverFromString(reactor, f"dualstack:0:tls={in_string(files.directory)}")
        with listening(reactor, endpoint, WitnessFactory()) as port:
            assert clients.talk("::1", port, name="B.example")[0] == ["b.example", "*.b.example"]

    @BOTH
    def test_certificates_may_come_later_where_there_was_none(
        self, description: str, reactor: Reactor, clients: Clients, tmp_path: Path
    ) -> None:
        authority = Authority.made()
        later = authority.issue("later.example")
        endpoint = serverFromString(reactor, description.format(in_string(tmp_path)))
        with listening(reactor, endpoint, WitnessFactory()) as port:
            with pytest.raises(ssl.SSLError):
                clients.talk("127.0.0.1", port, name="later.example")
            (tmp_path / "later.pem").write_bytes(later.pem + later.key_pem())
            (tmp_path / "chain.pem").write_bytes(authority.intermediate.pem)
            clients.talk("127.0.0.1", port, name="later.example")

    @BOTH
    def test_where_there_was_one_the_directory_is_not_read_again(
        self, description: str, reactor: Reactor, clients: Clients, tmp_path: Path
    ) -> None:
        directory = Files.written_to(tmp_path).directory
        later = Authority.made().issue("later.example")
        endpoint = serverFromString(reactor, description.format(in_string(directory)))
        with listening(reactor, endpoint, WitnessFactory()) as port:
            (directory / "later.pem").write_bytes(later.pem + later.key_pem())
            with pytest.raises(ssl.SSLError):
                clients.talk("127.0.0.1", port, name="later.example")
            clients.talk("127.0.0.1", port, name="a.example")

    @BOTH
    @pytest.mark.not_on_windows("certbot makes symbolic links")
    def test_the_layout_of_certbot_is_understood(
        self, description: str, reactor: Reactor, clients: Clients, tmp_path: Path
    ) -> None:
        authority = Authority.made()
        server = authority.issue("a.example")
        archive, live = tmp_path / "archive", tmp_path / "live"
        contents = {
            "cert.pem": server.pem,
            "chain.pem": authority.intermediate.pem,
            "fullchain.pem": server.pem + authority.intermediate.pem,
            "privkey.pem": server.key_pem(),
        }
        for folder in (archive, live):
            folder.mkdir()
        for name, content in contents.items():
            (archive / name).write_bytes(content)
            (live / name).symlink_to(archive / name)
        endpoint = serverFromString(reactor, description.format(in_string(live)))
        with listening(reactor, endpoint, WitnessFactory()) as port:
            clients.talk("::1", port, name="a.example")

    def test_a_client_without_a_name_is_served_once_certificates_have_come(
        self, reactor: Reactor, clients: Clients, tmp_path: Path
    ) -> None:
        later = Authority.made().issue("later.example")
        context = clients.context()
        context.check_hostname = False
        endpoint = serverFromString(reactor, f"dualstack:0:tls={in_string(tmp_path)}")
        with listening(reactor, endpoint, WitnessFactory()) as port:
            (tmp_path / "chain.pem").write_bytes(Authority.made().intermediate.pem)
            (tmp_path / "later.pem").write_bytes(later.pem + later.key_pem())
            names, _ = clients.talk("127.0.0.1", port, name="", context=context)
        assert names == ["later.example"]

    def test_a_file_that_can_not_be_used_may_be_put_right(
        self, reactor: Reactor, clients: Clients, tmp_path: Path
    ) -> None:
        later = Authority.made().issue("later.example")
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        endpoint = serverFromString(reactor, f"dualstack:0:tls={in_string(tmp_path)}")
        with listening(reactor, endpoint, WitnessFactory()) as port:
            (tmp_path / "later.pem").write_bytes(later.pem + later.key_pem(b"secret"))
            for _ in range(2):
                with pytest.raises(ssl.SSLError):
                    clients.talk("127.0.0.1", port, name="later.example")
            (tmp_path / "chain.pem").write_bytes(Authority.made().intermediate.pem)
            (tmp_path / "later.pem").write_bytes(later.pem + later.key_pem())
            clients.talk("127.0.0.1", port, name="later.example")
        globalLogPublisher.removeObserver(events.append)
        [said] = [formatEvent(each) for each in events if each.get("log_level") is LogLevel.error]
        assert f"{tmp_path / 'later.pem'}' is encrypted" in said

    @pytest.mark.parametrize(
        ("extra", "sent"), [(root, 2), (ring, 3), (another_authority, 2), (parameters, 2)]
    )
    @runs_tools
    def test_what_else_is_there_does_no_harm(
        self,
        extra: Callable[[], bytes],
        sent: int,
        reactor: Reactor,
        files: Files,
        clients: Clients,
        tmp_path: Path,
    ) -> None:
        """Twisted's own ``tls:`` hangs with a root."""
        directory = Files.written_to(tmp_path).directory
        (directory / "extra.pem").write_bytes(extra())
        endpoint = serverFromString(reactor, f"dualstack:0:tls={in_string(directory)}")
        with listening(reactor, endpoint, WitnessFactory()) as port:
            assert clients.certificates(port, "a.example") == sent
            clients.talk("127.0.0.1", port, name="a.example")

    @pytest.mark.parametrize("names", ["ab", "ba"])
    @pytest.mark.parametrize("days", [(-30, -1), (1, 90), (-30, 10)])
    @pytest.mark.parametrize("same_key", [True, False])
    def test_of_two_for_one_name_the_one_that_is_valid_longest_is_served(
        self,
        names: str,
        days: tuple[int, int],
        same_key: bool,
        reactor: Reactor,
        clients: Clients,
        tmp_path: Path,
    ) -> None:
        authority = Authority.made()
        best = issue("a.example", authority.intermediate, "a.example", "best.example")
        key = best.key if same_key else None
        other = issue("a.example", authority.intermediate, "a.example", key=key, days=days)
        (tmp_path / "chain.pem").write_bytes(authority.intermediate.pem)
        for name, made in zip(names, (best, other), strict=True):
            (tmp_path / f"{name}.pem").write_bytes(made.pem + made.key_pem())
        endpoint = serverFromString(reactor, f"dualstack:0:tls={in_string(tmp_path)}")
        with listening(reactor, endpoint, WitnessFactory()) as port:
            names_shown, _ = clients.talk("127.0.0.1", port, name="a.example")
        assert "best.example" in names_shown


@runs_tools
class TestHTTP2:
    """By curl, from Twisted's web server in a process of its own."""

    @pytest.mark.parametrize(
        "options",
        [
            "privateKey={key}:certKey={full_chain}",
            "tls={directory}",
        ],
    )
    def test_it_is_agreed_on(self, options: str, files: Files) -> None:
        description = files.filled(f"dualstack:0:{options}")
        with running(WEB, description) as server:
            port = server.event()["port"]
            for family, client in (("-4", "127.0.0.1"), ("-6", "::1")):
                for option, version in (("--http2", "HTTP/2"), ("--http1.1", "HTTP/1.1")):
                    page = curl(family, port, option, "--cacert", str(files.root))
                    assert page == f"{client} {client} {version}"
            log = server.stop()
        assert '"127.0.0.1" - -' in log
        assert "::ffff:" not in log

    @with_directories
    def test_twisteds_own_endpoint_leaks(self, files: Files) -> None:
        with running(WEB, f"tls:{files.directory}:port=0") as server:
            port = server.event()["port"]
            assert curl("-4", port, "-k", "--http2") == f"{MAPPED} {MAPPED} HTTP/2"

    @with_directories
    @BOTH
    def test_every_certificate_serves_it(self, description: str, files: Files) -> None:
        with running(WEB, description.format(in_string(files.directory))) as server:
            port = server.event()["port"]
            for name in ("a.example", "b.example", "www.b.example"):
                options = ("--http2", "--cacert", str(files.root))
                assert curl("-4", port, *options, name=name).endswith("HTTP/2"), name


@needs_global_clock
@pytest.mark.parametrize(
    ("host", "seen"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), (MAPPED, "127.0.0.1")],
    ids=["ipv4", "ipv6", "mapped"],
)
@pytest.mark.parametrize("server", ["files", "in Python"])
def test_a_client_in_python_verifies_and_talks(
    server: str, host: str, seen: str, reactor: Reactor, files: Files
) -> None:
    factory, got = WitnessFactory(), list[tuple[bytes, str, str]]()

    class Asking(Protocol):
        def connectionMade(self) -> None:
            self.transport.write(b"hello")

        def dataReceived(self, data: bytes) -> None:
            got.append((data, self.transport.getPeer().host, self.transport.getHost().host))
            self.transport.loseConnection()

    trust = optionsForClientTLS("a.example", Certificate.loadPEM(files.root.read_bytes()))
    with listening(reactor, CASES[server].ours(reactor, files), factory) as port:
        client = wrapClientTLS(trust, DualStackClientEndpoint(reactor, host, port))
        reactor.result_of(client.connect(Factory.forProtocol(Asking)))
        reactor.until(lambda: factory.has("lost"))
    assert got == [(b"hello", seen, seen)]
    assert factory.addresses() == {seen}


@needs_global_clock
@nothing_is_mapped
def test_twisteds_own_client_leaks(reactor: Reactor, files: Files) -> None:
    peers: list[str] = []

    class Looking(Protocol):
        def connectionMade(self) -> None:
            peers.append(self.transport.getPeer().host)
            self.transport.loseConnection()

    trust = optionsForClientTLS("a.example", Certificate.loadPEM(files.root.read_bytes()))
    with listening(reactor, CASES["files"].ours(reactor, files), WitnessFactory()) as port:
        client = wrapClientTLS(trust, TCP6ClientEndpoint(reactor, MAPPED, port))
        reactor.result_of(client.connect(Factory.forProtocol(Looking)))
    assert peers == [MAPPED]


class TestProxyHeaders:
    """A PROXY header before the data; without an address in it the socket's own are shown."""

    V1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 2222\r\n"
    V1_UNKNOWN = b"PROXY UNKNOWN 2001:db8::1 2001:db8::2 1111 2222\r\n"
    V2 = (
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11"
        + struct.pack("!H", 12)
        + socket.inet_aton("192.0.2.1")
        + socket.inet_aton("192.0.2.2")
        + struct.pack("!HH", 1111, 2222)
    )
    V2_UNSPECIFIED = b"\r\n\r\n\0\r\nQUIT\n\x21\x00\0\0"

    @pytest.mark.parametrize(
        ("header", "peer"),
        [(V1, "192.0.2.1"), (V2, "192.0.2.1"), (V1_UNKNOWN, None), (V2_UNSPECIFIED, None)],
        ids=["v1", "v2", "v1-unknown", "v2-unspecified"],
    )
    @pytest.mark.parametrize(
        ("inner", "host", "own"),
        [
            ("dualstack:0", "127.0.0.1", "127.0.0.1"),
            ("dualstack:0", "::1", "::1"),
            pytest.param(r"tcp6:0:interface=\:\:", "127.0.0.1", MAPPED, marks=nothing_is_mapped),
        ],
        ids=["ipv4", "ipv6", "tcp6-leaks"],
    )
    def test_addresses(
        self,
        header: bytes,
        peer: str | None,
        inner: str,
        host: str,
        own: str,
        reactor: Reactor,
        clients: Clients,
    ) -> None:
        factory = WitnessFactory()
        with listening(reactor, serverFromString(reactor, f"haproxy:{inner}"), factory) as port:
            assert clients.exchange(host, port, header + b"hello") == b"hello"
            reactor.until(lambda: factory.has("lost"))
        shown = {stage: peer for stage, peer, _ in factory.seen}
        assert shown["built"] == shown["made"] == own
        assert shown["data"] == (peer or own)

    @pytest.mark.parametrize(
        ("inner", "own"),
        [
            (lambda reactor: DualStackServerEndpoint(reactor, 0), "127.0.0.1"),
            pytest.param(
                lambda reactor: TCP6ServerEndpoint(reactor, 0, interface="::"),
                MAPPED,
                marks=nothing_is_mapped,
            ),
        ],
        ids=["dualstack", "tcp6-leaks"],
    )
    @pytest.mark.parametrize(
        ("header", "peer"), [(V1, "192.0.2.1"), (V1_UNKNOWN, None)], ids=["v1", "v1-unknown"]
    )
    def test_a_header_before_the_handshake(
        self,
        inner: Callable[[Reactor], IStreamServerEndpoint],
        own: str,
        header: bytes,
        peer: str | None,
        reactor: Reactor,
        files: Files,
        clients: Clients,
    ) -> None:
        factory = WitnessFactory()
        endpoint = wrapServerTLS(creator(files), proxyEndpoint(inner(reactor)), reactor)
        with listening(reactor, endpoint, factory) as port:
            clients.talk("127.0.0.1", port, first=header)
            reactor.until(lambda: factory.has("lost"))
        shown = {stage: peer for stage, peer, _ in factory.seen}
        assert shown["handshake"] == shown["data"] == (peer or own)

    def test_by_string_the_header_is_looked_for_inside_tls(
        self, reactor: Reactor, files: Files, clients: Clients
    ) -> None:
        factory = WitnessFactory()
        description = files.filled("haproxy:dualstack:0:privateKey={key}:certKey={full_chain}")
        with listening(reactor, serverFromString(reactor, description), factory) as port:
            clients.talk("127.0.0.1", port, inside=self.V1)
            reactor.until(lambda: factory.has("lost"))
        shown = {stage: peer for stage, peer, _ in factory.seen}
        assert (shown["made"], shown["data"]) == ("127.0.0.1", "192.0.2.1")


@pytest.mark.parametrize("completes", [True, False], ids=["handshake", "no-handshake"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_plugins_are_told_of_a_connection_once(
    host: str, completes: bool, reactor: Reactor, files: Files, clients: Clients
) -> None:
    factory = WitnessFactory()
    with registered(RecordingPlugin()) as recording:
        with listening(reactor, CASES["files"].ours(reactor, files), factory) as port:
            if completes:
                clients.talk(host, port)
            else:
                clients.exchange(host, port, b"GET / HTTP/1.0\r\n\r\n")
            reactor.until(lambda: recording.of("connection_lost"))
    [made], [lost] = recording.of("connection_made"), recording.of("connection_lost")
    assert lost is made
    assert made.peer[0] == made.local[0] == host
