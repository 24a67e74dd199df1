"""Twisted's reactor of completion ports: canonical addresses on its own connections."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from support.reactors import CompletingReactor
from twisted.internet import error
from twisted.internet.iocpreactor import tcp
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol

from dsadapter.frameworks.twisted import (
    DualStackClientEndpoint,
    DualStackDatagramEndpoint,
    DualStackServerEndpoint,
)

LOOPBACK = ("127.0.0.1", "::1")


class Recorder(Protocol):
    """An end of a connection, which says what it was told."""

    def __init__(self) -> None:
        self.data = b""
        self.ended: Any = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Any) -> None:
        self.ended = reason


class Recorders(Factory):
    """Builds them."""

    def __init__(self) -> None:
        self.addresses: list[Any] = []
        self.made: list[Recorder] = []
        self.stopped = 0

    def buildProtocol(self, addr: Any) -> Recorder:
        self.addresses.append(addr)
        self.made.append(Recorder())
        return self.made[-1]

    def stopFactory(self) -> None:
        self.stopped += 1


@pytest.fixture
def reactor() -> Iterator[CompletingReactor]:
    made = CompletingReactor()
    yield made
    made.disconnectAll()
    made.close()


@pytest.fixture
def served() -> Recorders:
    return Recorders()


def listen(reactor: Any, factory: Recorders, **options: Any) -> Any:
    return reactor.result_of(DualStackServerEndpoint(reactor, 0, **options).listen(factory))


def connect(reactor: Any, host: str, number: int) -> Recorder:
    endpoint = DualStackClientEndpoint(reactor, host, number)
    made: Recorder = reactor.result_of(endpoint.connect(Recorders()))
    return made


@pytest.mark.parametrize("host", LOOPBACK)
def test_both_ends_are_named_canonically(
    reactor: CompletingReactor, served: Recorders, host: str
) -> None:
    port = listen(reactor, served)
    number = port.getHost().port
    with socket.create_connection((host, number)) as plain:
        reactor.until(lambda: served.made)
        [made], [address] = served.made, served.addresses
        transport = made.transport

        assert isinstance(transport, tcp.Connection)
        assert (address.host, address.port) == plain.getsockname()[:2]
        assert transport.getPeer() == address
        assert (transport.getHost().host, transport.getHost().port) == (host, number)
        assert transport.getHandle().getpeername()[0] == host
        assert transport.getHandle().getsockname()[0] == host
        assert transport.logPrefix() == f"Recorder,0,{host}"

        plain.sendall(b"hello")
        reactor.until(lambda: made.data == b"hello")
        transport.write(b"world")
        reactor.until(lambda: select.select([plain], (), (), 0)[0])
        assert plain.recv(100) == b"world"
    reactor.until(lambda: made.ended)
    reactor.result_of(port.stopListening())
    assert (port.mode, served.stopped) == ("dual-stack", 1)


@pytest.mark.parametrize("host", LOOPBACK)
def test_a_client_sees_canonical_addresses(
    reactor: CompletingReactor, served: Recorders, host: str
) -> None:
    number = listen(reactor, served).getHost().port

    client = connect(reactor, host, number)

    assert isinstance(client.transport, tcp.Connection)
    assert (client.transport.getPeer().host, client.transport.getPeer().port) == (host, number)
    assert client.transport.getHost().host == host
    reactor.until(lambda: served.made)
    assert served.addresses[0].port == client.transport.getHost().port
    client.transport.write(b"x" * 500_000)
    reactor.until(lambda: len(served.made[0].data) == 500_000)
    client.transport.loseConnection()
    reactor.until(lambda: client.ended and served.made[0].ended)


def test_a_name_is_connected_to(reactor: CompletingReactor, served: Recorders) -> None:
    reactor.resolve_names()
    number = listen(reactor, served, interface="127.0.0.1").getHost().port

    assert connect(reactor, "localhost", number).transport.getPeer().host == "127.0.0.1"


def test_a_refused_connection_says_so(reactor: CompletingReactor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        number = closed.getsockname()[1]
    with pytest.raises(error.ConnectionRefusedError, match=f"127.0.0.1:{number}"):
        connect(reactor, "127.0.0.1", number)


def test_many_connect_at_once(reactor: CompletingReactor, served: Recorders) -> None:
    number = listen(reactor, served).getHost().port
    done: list[Any] = []
    for index in range(100):
        endpoint = DualStackClientEndpoint(reactor, LOOPBACK[index % 2], number)
        endpoint.connect(Recorders()).addBoth(done.append)
    reactor.until(lambda: len(done) == len(served.made) == 100)

    assert all(isinstance(each, Recorder) for each in done)
    assert {address.host for address in served.addresses} == set(LOOPBACK)


def test_two_sockets_are_served(reactor: CompletingReactor, served: Recorders) -> None:
    port = listen(reactor, served, interface="localhost")
    number = port.getHost().port
    for host in LOOPBACK:
        connect(reactor, host, number)
    reactor.until(lambda: len(served.made) == 2)

    assert {address.host for address in served.addresses} == set(LOOPBACK)
    assert port.mode == "pair"
    reactor.result_of(port.stopListening())
    for host in LOOPBACK:
        with pytest.raises(error.ConnectionRefusedError):
            connect(reactor, host, number)


def test_what_is_paused_waits(reactor: CompletingReactor, served: Recorders) -> None:
    port = listen(reactor, served)
    port.stopReading()
    clients = [connect(reactor, host, port.getHost().port) for host in LOOPBACK]
    for _ in range(5):
        reactor.iterate(0.01)
    assert served.made == []

    port.startReading()
    reactor.until(lambda: len(served.made) == 2)
    assert all(client.ended is None for client in clients)


def test_a_peer_that_has_gone_ends_nothing(reactor: CompletingReactor, served: Recorders) -> None:
    port = listen(reactor, served)
    number = port.getHost().port
    for _ in range(3):
        gone = socket.create_connection(("127.0.0.1", number))
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0")
        gone.close()
    with socket.create_connection(("::1", number)) as plain:
        reactor.until(lambda: any(a.host == "::1" for a in served.addresses))
        assert plain.getpeername()[1] == number


def test_a_proxy_names_the_client(reactor: CompletingReactor, served: Recorders) -> None:
    number = listen(reactor, served, proxyFrom=["127.0.0.1"]).getHost().port
    with socket.create_connection(("127.0.0.1", number)) as plain:
        plain.sendall(b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.8 7000 80\r\nrest")
        reactor.until(lambda: served.made and served.made[0].data == b"rest")
    assert (served.addresses[0].host, served.addresses[0].port) == ("192.0.2.7", 7000)
    assert served.made[0].transport.getHost().host == "192.0.2.8"


def test_who_waits_for_a_header_takes_no_turns(
    reactor: CompletingReactor, served: Recorders
) -> None:
    number = listen(reactor, served, proxyFrom=["127.0.0.1"], proxyTimeout=600).getHost().port
    with ExitStack() as opened:
        proxies = [
            opened.enter_context(socket.create_connection(("127.0.0.1", number)))
            for _ in range(520)
        ]
        for each in proxies:
            each.sendall(b"PROXY TCP4 192.0.2.7 ")
        for _ in range(20):
            reactor.iterate(0.01)
        assert served.made == []
        # The next thing to do is to give up.
        assert reactor.timeout() > 60

        for each in proxies:
            each.sendall(b"192.0.2.8 7000 80\r\n")
        reactor.until(lambda: len(served.made) == 520)
    assert {address.host for address in served.addresses} == {"192.0.2.7"}
    reactor.until(lambda: all(made.ended for made in served.made))


def test_a_held_port_says_so(reactor: CompletingReactor, served: Recorders) -> None:
    number = listen(reactor, served).getHost().port
    endpoint = DualStackServerEndpoint(reactor, number)
    with pytest.raises(error.CannotListenError, match=f"{number}.* held by another socket"):
        reactor.result_of(endpoint.listen(Recorders()))


def test_datagrams_are_refused_in_words(reactor: CompletingReactor) -> None:
    endpoint = DualStackDatagramEndpoint(reactor, 0)
    with pytest.raises(NotImplementedError, match=r"CompletingReactor .* --reactor=select"):
        reactor.result_of(endpoint.listen(DatagramProtocol()))
