"""Reactors whose ports are not Twisted's own: one that adopts sockets, and one that does not."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support.foreign_reactor import ForeignPort, ForeignReactor, ForeignTransport
from support.listeners import Recorder, RecordingFactory
from support.reactors import open_descriptors
from support.spellings import LOOPBACK as SPELLED
from support.windows import counts_descriptors
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.base import ReactorBase
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.ssl import KeyPair
from twisted.python import log
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer
from zope.interface.verify import verifyObject

from dsadapter import hookimpl
from dsadapter.frameworks.twisted import DualStackServerEndpoint
from dsadapter.interfaces import IListener
from dsadapter.testing import RecordingPlugin, registered

LOOPBACK = ["127.0.0.1", "::1"]


@pytest.fixture
def reactor() -> Iterator[ForeignReactor]:
    made = ForeignReactor()
    yield made
    made.close()


def listen(reactor: ForeignReactor, port: int = 0, interface: str = "::", **options: Any) -> Any:
    factory = options.pop("factory", None) or RecordingFactory()
    deferred = DualStackServerEndpoint(reactor, port, interface=interface, **options).listen(
        factory
    )
    assert deferred.called, "listen() has to bind before it returns"
    return reactor.result_of(deferred)


def stop(reactor: ForeignReactor, port: Any) -> None:
    reactor.result_of(port.stopListening())


def connect(reactor: ForeignReactor, port: Any, host: str) -> socket.socket:
    before = len(port.factory.made)
    client = socket.create_connection((host, port.getHost().port))
    reactor.until(lambda: len(port.factory.made) > before)
    return client


def close(reactor: ForeignReactor, port: Any, *clients: socket.socket) -> None:
    before = len(port.factory.lost)
    for client in clients:
        client.close()
    reactor.until(lambda: len(port.factory.lost) == before + len(clients))


def address(name: tuple[Any, ...]) -> Any:
    return (IPv4Address if len(name) == 2 else IPv6Address)("TCP", *name)


def test_the_reactor_is_foreign_and_leaks(reactor: ForeignReactor) -> None:
    assert not isinstance(reactor, PosixReactorBase)
    factory = RecordingFactory()
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        listener.setblocking(False)
        port = reactor.adoptStreamPort(listener.fileno(), socket.AF_INET6, factory)
    with socket.create_connection(("127.0.0.1", port.getHost().port)):
        reactor.until(lambda: factory.made)
        assert factory.built_with[0].host == "::ffff:127.0.0.1"
        assert factory.made[0].transport.getPeer().host == "::ffff:127.0.0.1"
    reactor.until(lambda: factory.lost)
    port.stopListening()


@pytest.mark.parametrize("host", LOOPBACK)
def test_every_address_is_canonical(reactor: ForeignReactor, host: str) -> None:
    port = listen(reactor)
    assert port.getHost() == IPv6Address("TCP", "::", port.getHost().port)
    client = connect(reactor, port, host)
    [built_with], [protocol] = port.factory.built_with, port.factory.made
    transport = protocol.transport
    peer, here = address(client.getsockname()), address(client.getpeername())
    assert built_with == transport.getPeer() == peer
    assert transport.getHost() == here
    assert transport.client == client.getsockname()
    assert transport.hostname == host
    assert "::ffff:" not in repr(transport)
    close(reactor, port, client)
    stop(reactor, port)


def test_the_raw_handle_is_the_reactors_own_and_shows_what_the_kernel_says(
    reactor: ForeignReactor,
) -> None:
    port = listen(reactor)
    client = connect(reactor, port, "127.0.0.1")
    handle = port.factory.made[0].transport.getHandle()
    assert handle.getpeername()[0] == "::ffff:127.0.0.1"
    close(reactor, port, client)
    stop(reactor, port)


@pytest.mark.parametrize("host", LOOPBACK)
def test_the_reactors_own_log_prefix_is_canonical(reactor: ForeignReactor, host: str) -> None:
    class Talking(Recorder):
        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            log.msg("a line of the application")

    factory = RecordingFactory()
    factory.protocol = Talking
    port = listen(reactor, factory=factory)
    client = connect(reactor, port, host)
    events: list[Any] = []
    log.addObserver(events.append)
    try:
        client.sendall(b"talk")
        reactor.until(lambda: factory.made[0].received)
    finally:
        log.removeObserver(events.append)
    [line] = [event for event in events if event.get("message") == ("a line of the application",)]
    assert line["system"] == f"ForeignTransport,0,{host}"
    close(reactor, port, client)
    stop(reactor, port)


@pytest.mark.parametrize(
    ("interface", "family"),
    [(text, socket.AF_INET6 if ":" in shown else socket.AF_INET) for text, shown in SPELLED],
)
def test_one_family_is_not_widened(
    reactor: ForeignReactor, interface: str, family: socket.AddressFamily
) -> None:
    port = listen(reactor, interface=interface)
    number = port.getHost().port
    right, wrong = LOOPBACK if family == socket.AF_INET else LOOPBACK[::-1]
    assert port.getHost().host == right
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((wrong, number))
    close(reactor, port, connect(reactor, port, right))
    stop(reactor, port)


@counts_descriptors
def test_localhost_is_two_sockets_behind_one_port(reactor: ForeignReactor) -> None:
    # Logging opens descriptors of its own.
    stop(reactor, listen(reactor))
    before = open_descriptors()
    port = listen(reactor, interface="localhost")
    assert port.mode == "pair"
    assert len(open_descriptors() - before) == 2
    number = port.getHost().port
    assert port.addresses() == (("127.0.0.1", number), ("::1", number, 0, 0))
    for host in LOOPBACK:
        client = connect(reactor, port, host)
        assert port.factory.made[-1].transport.getPeer() == address(client.getsockname())
        close(reactor, port, client)
    stop(reactor, port)
    assert open_descriptors() <= before


@counts_descriptors
def test_data_flows_both_ways_and_nothing_stays_open(reactor: ForeignReactor) -> None:
    # Logging opens descriptors of its own.
    stop(reactor, listen(reactor))
    before = open_descriptors()
    port = listen(reactor)
    assert len(open_descriptors() - before) == 1
    client = connect(reactor, port, "127.0.0.1")
    protocol = port.factory.made[0]
    client.sendall(b"question")
    reactor.until(lambda: protocol.received == b"question")
    protocol.transport.write(b"answer")
    reactor.iterate(0)
    assert client.recv(10) == b"answer"
    protocol.transport.loseConnection()
    reactor.until(lambda: port.factory.lost == [protocol])
    assert client.recv(1) == b""
    client.close()
    stop(reactor, port)
    assert open_descriptors() <= before


def test_what_stands_in_provides_what_it_stands_for(reactor: ForeignReactor) -> None:
    port = listen(reactor)
    client = connect(reactor, port, "127.0.0.1")
    protocol = port.factory.made[0]
    [foreign] = [r for r in reactor.getReaders() if isinstance(r, ForeignTransport)]
    [foreign_port] = [r for r in reactor.getReaders() if isinstance(r, ForeignPort)]
    assert verifyObject(IListeningPort, port)
    assert verifyObject(IListener, port)
    assert verifyObject(ITCPTransport, protocol.transport)
    assert verifyObject(IProtocol, foreign.protocol)
    assert verifyObject(IProtocolFactory, foreign_port.factory)
    protocol.transport.setTcpNoDelay(True)
    assert foreign.getTcpNoDelay()
    protocol.transport.note = "kept"
    assert foreign.note == "kept"
    assert port.fileno() == foreign_port.fileno()
    close(reactor, port, client)
    stop(reactor, port)


def test_half_closing(reactor: ForeignReactor) -> None:
    @implementer(IHalfCloseableProtocol)
    class HalfClosing(Recorder):
        def readConnectionLost(self) -> None:
            self.transport.write(b"last words")
            self.transport.loseConnection()

        def writeConnectionLost(self) -> None:
            pass

    factory = RecordingFactory()
    factory.protocol = HalfClosing
    port = listen(reactor, factory=factory)
    client = connect(reactor, port, "127.0.0.1")
    client.shutdown(socket.SHUT_WR)
    reactor.until(lambda: factory.lost)
    assert client.recv(20) == b"last words"
    client.close()
    stop(reactor, port)


def test_another_protocol_takes_over(reactor: ForeignReactor) -> None:
    with registered(RecordingPlugin()) as recording:
        port = listen(reactor)
        client = connect(reactor, port, "127.0.0.1")
        first = port.factory.made[0]
        second = Recorder()
        second.factory = port.factory
        first.transport.protocol = second
        second.makeConnection(first.transport)
        assert first.transport.protocol is second
        client.sendall(b"for the second")
        reactor.until(lambda: second.received == b"for the second")
        close(reactor, port, client)
        stop(reactor, port)
    assert port.factory.lost == [second]
    assert len(recording.of("connection_lost")) == 1


# The way in which Twisted makes a certificate.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_startTLS(reactor: ForeignReactor) -> None:
    options = KeyPair.generate(size=2048).selfSignedCert(1, CN="localhost").options()

    class Securing(Recorder):
        def connectionMade(self) -> None:
            super().connectionMade()
            self.transport.startTLS(options)

    factory = RecordingFactory()
    factory.protocol = Securing
    with registered(RecordingPlugin()) as recording:
        port = listen(reactor, factory=factory)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE

        def talk() -> None:
            with socket.create_connection(("127.0.0.1", port.getHost().port)) as client:
                with context.wrap_socket(client) as wrapped:
                    wrapped.sendall(b"secret")

        talking = threading.Thread(target=talk)
        talking.start()
        reactor.until(lambda: factory.made and factory.made[0].received == b"secret")
        transport = factory.made[0].transport
        assert ISSLTransport.providedBy(transport)
        assert transport.getPeer().host == transport.getHost().host == "127.0.0.1"
        reactor.until(lambda: factory.lost)
        talking.join()
        stop(reactor, port)
    assert len(recording.of("connection_lost")) == 1


def test_a_web_server_by_string(reactor: ForeignReactor) -> None:
    class Page(Resource):
        isLeaf = True  # noqa: N815

        def render_GET(self, request: Any) -> bytes:
            return f"{request.getClientAddress().host} {request.getHost().host}".encode()

    site = Site(Page())
    site.noisy = False
    port = reactor.result_of(serverFromString(reactor, "dualstack:0").listen(site))
    for host in LOOPBACK:
        with socket.create_connection((host, port.getHost().port)) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            client.setblocking(False)
            answer = b""

            def answered(client: socket.socket = client) -> bool:
                nonlocal answer
                try:
                    part = client.recv(4096)
                except BlockingIOError:
                    return False
                answer += part
                return not part

            reactor.until(answered)
        assert answer.endswith(f"{host} {host}".encode())
    stop(reactor, port)


@pytest.mark.parametrize("host", LOOPBACK)
def test_plugins_are_told_as_on_Twisteds_own_reactors(reactor: ForeignReactor, host: str) -> None:
    with registered(RecordingPlugin()) as recording:
        port = listen(reactor)
        client = connect(reactor, port, host)
        name = client.getsockname()
        here = client.getpeername()
        close(reactor, port, client)
        stop(reactor, port)
        port.startListening()
        stop(reactor, port)
    assert [event.hook for event in recording.events] == [
        *("before_bind", "listener_opened", "connection_made", "connection_lost"),
        "listener_closed",
        *("before_bind", "listener_opened", "listener_closed"),
    ]
    [made], [lost] = recording.of("connection_made"), recording.of("connection_lost")
    assert made is lost
    assert (made.framework, made.listener) == ("twisted", port)
    assert (made.peer, made.local) == (name, here)
    assert made.translated is (host == "127.0.0.1")
    assert (port.framework, port.mode) == ("twisted", "dual-stack")
    assert port.addresses() == (("::", port.addresses()[0][1], 0, 0),)


def test_a_reactor_that_ends_closes_the_listener(reactor: ForeignReactor) -> None:
    with registered(RecordingPlugin()) as recording:
        port = listen(reactor)
        reactor.disconnectAll()
    assert recording.of("listener_closed") == [port]


def test_a_plugin_refuses(reactor: ForeignReactor) -> None:
    class Refusing(RecordingPlugin):
        @hookimpl
        def dsadapter_before_bind(self, sock: socket.socket) -> None:
            raise PermissionError("not on my watch")

    before = open_descriptors()
    with registered(Refusing()) as recording:
        with pytest.raises(CannotListenError, match="not on my watch"):
            listen(reactor)
    [refusal] = recording.of("operation_refused")
    assert (refusal.operation, refusal.plugin) == ("listen", "Refusing")
    assert refusal.address == ("::", 0, 0, 0)
    assert open_descriptors() <= before


def test_a_factory_that_builds_no_protocol(reactor: ForeignReactor) -> None:
    class Closed(RecordingFactory):
        def buildProtocol(self, addr: Any) -> None:
            self.built_with.append(addr)

    with registered(RecordingPlugin()) as recording:
        port = listen(reactor, factory=Closed())
        with socket.create_connection(("127.0.0.1", port.getHost().port)) as client:
            reactor.until(lambda: port.factory.built_with)
            assert client.recv(1) == b""
            peer = client.getsockname()
        stop(reactor, port)
    [refusal] = recording.of("operation_refused")
    assert (refusal.operation, refusal.address, refusal.plugin) == ("accept", peer, None)


def test_a_held_port_is_named_and_nothing_stays_open(reactor: ForeignReactor) -> None:
    holder = listen(reactor)
    number = holder.getHost().port
    before = open_descriptors()
    with pytest.raises(CannotListenError, match=r"(is|are) held by another socket") as caught:
        listen(reactor, number)
    assert caught.value.socketError.errno == errno.EADDRINUSE
    del caught
    assert open_descriptors() <= before
    stop(reactor, holder)


def test_a_factory_that_cannot_start_leaves_nothing_open(reactor: ForeignReactor) -> None:
    class Failing(RecordingFactory):
        def startFactory(self) -> None:
            raise RuntimeError("no")

    before = open_descriptors()
    with pytest.raises(RuntimeError, match="no"):
        listen(reactor, factory=Failing())
    assert open_descriptors() <= before


def test_a_reactor_that_adopts_nothing_says_what_to_run_on() -> None:
    class IOCPReactor(ReactorBase):
        """As on Windows: ports of its own, and no ``IReactorSocket``."""

        def installWaker(self) -> None:
            pass

    before = open_descriptors()
    deferred = DualStackServerEndpoint(IOCPReactor(), 0).listen(RecordingFactory())
    failures: list[Any] = []
    deferred.addErrback(failures.append)
    assert failures[0].check(NotImplementedError)
    assert "IOCPReactor watches no descriptors" in failures[0].getErrorMessage()
    assert "'twist --reactor=select'" in failures[0].getErrorMessage()
    assert open_descriptors() <= before
