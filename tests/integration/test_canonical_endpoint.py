"""``canonical:`` and ``CanonicalServerEndpoint``: endpoints of others, with canonical addresses."""

from __future__ import annotations

import gc
import os
import re
import shutil
import socket
import ssl
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.builds import CHECKOUT
from support.certificates import Files, older_pyopenssl_api
from support.foreign_reactor import ForeignReactor
from support.listeners import Recorder, RecordingFactory, stop
from support.processes import running_command
from support.reactors import Reactor
from support.versions import SERVES_DIRECTORIES, lacking
from support.windows import nothing_is_mapped
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    TCP6ServerEndpoint,
    serverFromString,
)
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    IListeningPort,
    ISSLTransport,
    IStreamServerEndpoint,
    ITCPTransport,
)
from twisted.internet.ssl import KeyPair
from twisted.python import log
from twisted.python.components import proxyForInterface
from zope.interface import implementer
from zope.interface.verify import verifyObject

from dsadapter.frameworks.twisted import CanonicalServerEndpoint

pytestmark = nothing_is_mapped

ACTIVATE = shutil.which("systemd-socket-activate")
SERVER = Path(__file__).parent / "servers" / "inherited.py"
HOSTS = ["127.0.0.1", "::1"]
TYPES = {"127.0.0.1": IPv4Address, "::1": IPv6Address}
MAPPED = "::ffff:192.0.2.1"
V1 = f"PROXY TCP6 {MAPPED} 2001:db8::80 4000 80\r\n".encode()
V2 = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24"
    + socket.inet_pton(socket.AF_INET6, MAPPED)
    + socket.inet_pton(socket.AF_INET6, "2001:db8::80")
    + (4000).to_bytes(2)
    + (80).to_bytes(2)
)


class Chatty(Recorder):
    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        log.msg("a line of the application")


class Recording(RecordingFactory):
    protocol = Chatty


def serve(reactor: Any, description: str, factory: Any = None) -> tuple[Any, Any]:
    factory = factory or Recording()
    endpoint = serverFromString(reactor, description)
    assert verifyObject(IStreamServerEndpoint, endpoint)
    return reactor.result_of(endpoint.listen(factory)), factory


class Elsewhere:
    """An endpoint whose port is not Twisted's, so that only stand-ins can help."""

    def __init__(self, reactor: Any) -> None:
        self.inner = TCP6ServerEndpoint(reactor, 0, interface="::")

    def listen(self, factory: Any) -> Any:
        return self.inner.listen(factory).addCallback(proxyForInterface(IListeningPort))


WAYS: dict[str, Callable[[Any], Any]] = {
    "port": lambda reactor: serverFromString(reactor, "canonical:tcp6:0"),
    "stand-ins": lambda reactor: CanonicalServerEndpoint(Elsewhere(reactor)),
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def listening(reactor: Any, way: Callable[[Any], Any], factory: Any) -> Any:
    return reactor.result_of(way(reactor).listen(factory))


def talk(reactor: Any, port: Any, factory: Any, host: str, sent: bytes = b"x") -> Any:
    """The protocol of a connection that has sent something and is closed by then, and its log."""
    events: list[Any] = []
    log.addObserver(events.append)
    try:
        with socket.create_connection((host, port.getHost().port)) as client:
            client.sendall(sent)
            reactor.until(lambda: factory.made and factory.made[-1].received)
            protocol = factory.made[-1]
            seen = everything(protocol.transport)
        reactor.until(lambda: protocol in factory.lost)
    finally:
        log.removeObserver(events.append)
    [line] = [event for event in events if event.get("message") == ("a line of the application",)]
    return {**seen, "system": line["system"]}


def everything(transport: Any) -> dict[str, Any]:
    """Each name that an application may look at."""
    return {
        "peer": transport.getPeer(),
        "host": transport.getHost(),
        "client": transport.client[0],
        "hostname": transport.hostname,
        "raw peer": transport.getHandle().getpeername()[0],
        "raw host": transport.getHandle().getsockname()[0],
    }


def test_twisteds_own_endpoint_leaks(reactor: Reactor) -> None:
    port, factory = serve(reactor, r"tcp6:0:interface=\:\:")
    seen = talk(reactor, port, factory, "127.0.0.1")
    assert all("::ffff:127.0.0.1" in str(name) for name in seen.values())
    stop(reactor, port)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("inner", [r"tcp6:0:interface=\:\:", "tcp6:0", "dualstack:0"])
def test_every_address_is_canonical(reactor: Reactor, inner: str, host: str) -> None:
    port, factory = serve(reactor, f"canonical:{inner}")
    assert verifyObject(IListeningPort, port)
    seen = talk(reactor, port, factory, host)

    assert isinstance(seen["peer"], TYPES[host])
    assert isinstance(seen["host"], TYPES[host])
    assert type(factory.built_with[0]) is TYPES[host]
    names = [*factory.built_with, *seen.values()]
    assert [getattr(name, "host", name).rpartition(",")[2] for name in names] == [host] * 8
    assert ITCPTransport.providedBy(factory.made[0].transport)
    stop(reactor, port)
    assert factory.started == 0


@pytest.mark.parametrize("host", HOSTS)
def test_every_address_is_canonical_through_stand_ins(reactor: Reactor, host: str) -> None:
    factory = Recording()
    port = listening(reactor, WAYS["stand-ins"], factory)
    seen = talk(reactor, port, factory, host)

    assert isinstance(seen["peer"], TYPES[host])
    # The raw handle is the kernel's.
    del seen["raw peer"], seen["raw host"]
    names = [*factory.built_with, *seen.values()]
    assert [getattr(name, "host", name).rpartition(",")[2] for name in names] == [host] * 6
    stop(reactor, port)


def test_a_port_that_is_started_again_stays_canonical(reactor: Reactor) -> None:
    port, factory = serve(reactor, "canonical:tcp6:0")
    stop(reactor, port)
    port.startListening()
    assert talk(reactor, port, factory, "127.0.0.1")["peer"].host == "127.0.0.1"
    stop(reactor, port)


@pytest.mark.parametrize("host", HOSTS)
def test_on_a_reactor_whose_ports_are_its_own(host: str) -> None:
    reactor = ForeignReactor()
    try:

        class Adopting:
            def listen(self, factory: Any) -> Any:
                with socket.create_server(
                    ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True
                ) as sock:
                    return reactor.adoptStreamPort(sock.fileno(), sock.family, factory)

        factory = Recording()
        port: Any = reactor.result_of(CanonicalServerEndpoint(Adopting()).listen(factory))
        with socket.create_connection((host, port.getHost().port)):
            reactor.until(lambda: factory.made)
            transport = factory.made[0].transport
            assert transport.getPeer().host == transport.getHost().host == host
            assert factory.built_with[0].host == host
            # The reactor is asked about the stand-in, and knows the transport.
            assert transport in reactor.getReaders()
        reactor.until(lambda: factory.lost)
        stop(reactor, port)
    finally:
        reactor.close()


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("host", HOSTS)
def test_a_PROXY_header_that_holds_a_mapped_address(
    reactor: Reactor, header: bytes, host: str
) -> None:
    port, factory = serve(reactor, "canonical:haproxy:tcp6:0")
    seen = talk(reactor, port, factory, host, header + b"x")

    assert (type(seen["peer"]), seen["peer"].host, seen["peer"].port) == (
        IPv4Address,
        "192.0.2.1",
        4000,
    )
    assert socket.inet_pton(socket.AF_INET6, seen["host"].host) == socket.inet_pton(
        socket.AF_INET6, "2001:db8::80"
    )
    # Before the header has come there is the proxy.
    assert factory.built_with[0].host == host
    assert seen["raw peer"] == host
    stop(reactor, port)


def secured(port: int, host: str = "127.0.0.1", then: Callable[[Any], None] | None = None) -> Any:
    """A client of TLS in a thread of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def run() -> None:
        with (
            socket.create_connection((host, port)) as plain,
            context.wrap_socket(plain, server_hostname="a.example") as client,
        ):
            client.sendall(b"secret")
            client.recv(1)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@implementer(IHandshakeListener)
class Handshaking(Recorder):
    handshakes = 0

    def handshakeCompleted(self) -> None:
        self.handshakes += 1


@older_pyopenssl_api
@pytest.mark.usefixtures("global_clock")
@pytest.mark.parametrize("host", HOSTS)
def test_TLS_around_another_endpoint(reactor: Reactor, tmp_path: Path, host: str) -> None:
    files = Files.written_to(tmp_path)
    factory = Recording()
    factory.protocol = Handshaking
    description = f"ssl:0:privateKey={files.key}:certKey={files.certificate}:interface=\\:\\:"
    port, _ = serve(reactor, f"canonical:{description}", factory)
    thread = secured(port.getHost().port, host)
    reactor.until(lambda: factory.made and factory.made[0].received == b"secret")
    [protocol] = factory.made
    assert protocol.handshakes == 1
    assert ISSLTransport.providedBy(protocol.transport)
    assert protocol.transport.getPeer().host == protocol.transport.getHost().host == host
    assert factory.built_with[0].host == host
    protocol.transport.loseConnection()
    reactor.until(lambda: factory.lost)
    thread.join()
    stop(reactor, port)


@older_pyopenssl_api
@pytest.mark.usefixtures("global_clock")
@pytest.mark.skipif(not SERVES_DIRECTORIES, reason=lacking("has no tls: server strings"))
def test_twisteds_own_endpoint_for_a_directory_of_certificates(
    reactor: Reactor, tmp_path: Path
) -> None:
    files = Files.written_to(tmp_path)
    port, factory = serve(reactor, f"canonical:tls:{files.directory}:port=0")
    thread = secured(port.getHost().port)
    reactor.until(lambda: factory.made and factory.made[0].received == b"secret")
    assert factory.made[0].transport.getPeer().host == "127.0.0.1"
    factory.made[0].transport.loseConnection()
    reactor.until(lambda: factory.lost)
    thread.join()
    stop(reactor, port)


# The way in which Twisted makes a certificate.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@ways
def test_a_transport_that_starts_TLS_says_so(reactor: Reactor, way: Callable[[Any], Any]) -> None:
    options = KeyPair.generate(size=2048).selfSignedCert(1, CN="localhost").options()

    class Securing(Recorder):
        def connectionMade(self) -> None:
            super().connectionMade()
            assert not ISSLTransport.providedBy(self.transport)

        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            if data == b"start":
                self.transport.write(b"go")
                self.transport.startTLS(options)

    factory = Recording()
    factory.protocol = Securing
    port = listening(reactor, way, factory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def run() -> None:
        with socket.create_connection(("127.0.0.1", port.getHost().port)) as plain:
            plain.sendall(b"start")
            assert plain.recv(2) == b"go"
            with context.wrap_socket(plain) as client:
                client.sendall(b"secret")
                client.recv(1)

    thread = threading.Thread(target=run)
    thread.start()
    reactor.until(lambda: factory.made and factory.made[0].received == b"startsecret")
    transport = factory.made[0].transport
    assert ISSLTransport.providedBy(transport)
    assert transport.getPeer().host == transport.getHost().host == "127.0.0.1"
    transport.loseConnection()
    reactor.until(lambda: factory.lost)
    thread.join()
    stop(reactor, port)


@ways
def test_half_closing_and_producers(reactor: Reactor, way: Callable[[Any], Any]) -> None:
    class Producer:
        left = 3

        def resumeProducing(self) -> None:
            self.left -= 1
            self.consumer.write(b"x" * 70_000)
            if not self.left:
                self.consumer.unregisterProducer()
                self.consumer.loseConnection()

        def stopProducing(self) -> None:
            pass

    @implementer(IHalfCloseableProtocol)
    class HalfClosing(Recorder):
        def readConnectionLost(self) -> None:
            producer = Producer()
            producer.consumer = self.transport
            self.transport.registerProducer(producer, False)

        def writeConnectionLost(self) -> None:
            pass

    factory = Recording()
    factory.protocol = HalfClosing
    port = listening(reactor, way, factory)
    with socket.create_connection(("127.0.0.1", port.getHost().port)) as client:
        client.sendall(b"x")
        client.shutdown(socket.SHUT_WR)
        client.setblocking(False)
        got = b""
        while len(got) < 210_000:
            reactor.iterate(0.01)
            try:
                got += client.recv(1 << 20)
            except BlockingIOError:
                continue
    reactor.until(lambda: factory.lost)
    stop(reactor, port)


def test_a_unix_socket_is_served_as_it_is(reactor: Reactor, tmp_path: Path) -> None:
    port, factory = serve(reactor, f"canonical:unix:{tmp_path}/socket")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{tmp_path}/socket")
        client.sendall(b"x")
        reactor.until(lambda: factory.made and factory.made[0].received)
    reactor.until(lambda: factory.lost)
    stop(reactor, port)


def test_a_family_that_is_declared_wrong_is_refused(reactor: Reactor) -> None:
    """Twisted would show addresses of stale memory."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as sock:
        fd = os.dup(sock.fileno())
        readers = reactor.getReaders()
        endpoint = AdoptedStreamServerEndpoint(reactor, fd, socket.AF_INET)
        with pytest.raises(CannotListenError, match=r"AF_INET6 socket for one of AF_INET.*fd=3"):
            reactor.result_of(CanonicalServerEndpoint(endpoint).listen(Recording()))
        assert reactor.getReaders() == readers


@pytest.mark.skipif(ACTIVATE is None, reason="systemd-socket-activate is not installed")
def test_a_socket_of_systemd_through_twisteds_own_endpoint() -> None:
    assert ACTIVATE is not None
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as probe:
        number = probe.getsockname()[1]
    program = [sys.executable, "-u", str(SERVER), "canonical:systemd:domain=INET6:index=0"]
    keep = [f"--setenv={name}" for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ]
    with running_command(
        [ACTIVATE, f"--listen={number}", "--fdname=web", *keep, *program]
    ) as server:
        server.wait_for_log("Listening on")
        with socket.create_connection(("127.0.0.1", number)):
            server.event()
            server.event()
            assert server.event() == {"peer": "127.0.0.1", "host": "127.0.0.1", "raw": "127.0.0.1"}


def test_the_page_is_right() -> None:
    page = (CHECKOUT / "docs" / "any-endpoint.md").read_text()
    [command] = re.findall(r"```console\n\$ (.*)\n```", page)
    program, *arguments = command.replace("8080", "0").split()
    twist = str(Path(sys.executable).with_name(program))
    with running_command([twist, "--log-format=text", *arguments]) as server:
        line = server.wait_for_log("Site", "starting on")
        number = int(re.findall(r"starting on (\d+)", line)[0])
        for host in HOSTS:
            with socket.create_connection((host, number)) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                client.recv(100)
            server.wait_for_log(f'"{host}" - -', "GET / HTTP/1.0")


@pytest.mark.parametrize("description", ["canonical:", "canonical:8080", "canonical:port=8080"])
def test_a_string_without_another_one(reactor: Reactor, description: str) -> None:
    with pytest.raises(ValueError, match=r"'canonical:tcp6:8080'"):
        serverFromString(reactor, description)


def test_the_error_of_the_other_endpoint_is_its_own(reactor: Reactor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        number = held.getsockname()[1]
        endpoint = serverFromString(reactor, f"canonical:tcp:{number}:interface=127.0.0.1")
        with warnings.catch_warnings():
            # Twisted 22.10 leaves the socket that it could not bind to the garbage collector.
            warnings.simplefilter("ignore", ResourceWarning)
            with pytest.raises(CannotListenError):
                reactor.result_of(endpoint.listen(Recording()))
            gc.collect()
    with pytest.raises(ValueError, match="nosuch"):
        serverFromString(reactor, "canonical:nosuch:80")
