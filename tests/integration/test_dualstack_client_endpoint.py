"""``DualStackClientEndpoint`` on real sockets of both families."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from support.reactors import Reactor, open_descriptors
from support.resolvers import Hosts
from support.windows import counts_descriptors
from twisted.internet import error, tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactor
from zope.interface.verify import verifyObject

from dsadapter import hookimpl
from dsadapter.frameworks.twisted import (
    ConnectingError,
    DualStackClientEndpoint,
    DualStackServerEndpoint,
)
from dsadapter.testing import registered

V6ONLY = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
SPELLINGS = ["127.0.0.1", "::ffff:127.0.0.1", "::FFFF:7f00:1"]


class Client(Protocol):
    def __init__(self, addr: Any) -> None:
        self.built_with = addr
        self.received = b""
        self.lost: list[Any] = []

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.append(reason)


class ClientFactory(Factory):
    noisy = False

    def buildProtocol(self, addr: Any) -> Client:
        return Client(addr)


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


@contextmanager
def serving(reactor: Reactor, interface: str) -> Iterator[Any]:
    factory = Factory.forProtocol(Echo)
    factory.noisy = False
    port = reactor.result_of(
        DualStackServerEndpoint(reactor, 0, interface=interface).listen(factory)
    )
    yield port
    reactor.result_of(port.stopListening())
    for reader in reactor.getReaders():
        if isinstance(reader, tcp.Server):
            reader.abortConnection()
    reactor.iterate(0)


@pytest.fixture
def server(reactor: Reactor) -> Iterator[Any]:
    with serving(reactor, "::") as port:
        yield port


@pytest.fixture
def ipv4_only(reactor: Reactor) -> Iterator[Any]:
    with serving(reactor, "127.0.0.1") as port:
        yield port


@pytest.fixture(autouse=True)
def resolver(reactor: Reactor) -> None:
    reactor.resolve_names()


def connect(reactor: Reactor, host: str, port: int, **options: Any) -> Any:
    endpoint = DualStackClientEndpoint(reactor, host, port, **options)
    return reactor.result_of(endpoint.connect(ClientFactory()))


def close(reactor: Reactor, client: Any) -> None:
    client.transport.abortConnection()
    reactor.until(lambda: client.lost)


def closed_port() -> int:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as held:
        port: int = held.getsockname()[1]
        return port


@pytest.mark.parametrize("host", SPELLINGS)
def test_IPv4_in_any_spelling_is_IPv4_to_the_application(
    reactor: Reactor, server: Any, host: str
) -> None:
    number = server.getHost().port
    client = connect(reactor, host, number)
    transport = client.transport
    assert transport.getPeer() == client.built_with == IPv4Address("TCP", "127.0.0.1", number)
    assert transport.getHost().host == "127.0.0.1"
    handle = transport.getHandle()
    assert handle.family == socket.AF_INET6
    assert handle.getsockopt(*V6ONLY) == 0
    assert handle.getpeername() == ("127.0.0.1", number)
    assert handle.getsockname()[0] == "127.0.0.1"
    assert "ffff" not in repr(transport).lower() + transport.logstr
    transport.write(b"there and back")
    reactor.until(lambda: client.received == b"there and back")
    close(reactor, client)


def test_IPv6_stays_IPv6(reactor: Reactor, server: Any) -> None:
    number = server.getHost().port
    client = connect(reactor, "::1", number)
    assert client.transport.getPeer() == IPv6Address("TCP", "::1", number)
    assert client.transport.getHost().host == "::1"
    close(reactor, client)


@pytest.mark.parametrize("bind", ["127.0.0.2", "::ffff:127.0.0.2", ("127.0.0.2", 0)])
def test_an_IPv4_bindAddress_takes_an_IPv4_socket(reactor: Reactor, server: Any, bind: Any) -> None:
    client = connect(reactor, "127.0.0.1", server.getHost().port, bindAddress=bind)
    assert client.transport.getHandle().family == socket.AF_INET
    assert client.transport.getHost().host == "127.0.0.2"
    close(reactor, client)


@pytest.mark.parametrize(("host", "bind"), [("::1", "127.0.0.1"), ("127.0.0.1", "::1")])
def test_a_bindAddress_of_the_other_family_is_refused_at_once(host: str, bind: str) -> None:
    with pytest.raises(ValueError, match=f"bindAddress {bind} can't reach {host}"):
        DualStackClientEndpoint(MemoryReactor(), host, 80, bindAddress=bind)


def test_a_name_is_resolved_and_both_families_are_tried(reactor: Reactor, ipv4_only: Any) -> None:
    number = ipv4_only.getHost().port
    client = connect(reactor, "localhost", number)
    assert client.transport.getPeer() == IPv4Address("TCP", "127.0.0.1", number)
    close(reactor, client)


@pytest.mark.parametrize("host", ["127.0.0.1", "::ffff:127.0.0.1", "::1", "localhost"])
def test_a_refusal_tells_of_every_address_and_leaves_nothing_open(
    reactor: Reactor, host: str
) -> None:
    number = closed_port()
    before = open_descriptors()
    with pytest.raises(error.ConnectionRefusedError) as caught:
        connect(reactor, host, number)
    assert isinstance(caught.value, ConnectingError)
    text = str(caught.value)
    assert "::ffff:" not in text
    tried = [attempt.address[0] for attempt in caught.value.attempts]
    assert set(tried) >= ({"127.0.0.1"} if host == "localhost" else {host.removeprefix("::ffff:")})
    for address in tried:
        assert address in text
    del caught
    assert open_descriptors() <= before


def test_a_name_without_an_address_is_a_lookup_error(reactor: Reactor) -> None:
    reactor.installNameResolver(Hosts({}))
    with pytest.raises(error.DNSLookupError, match="nowhere"):
        connect(reactor, "nowhere.invalid", 80)


@contextmanager
def not_answering() -> Iterator[socket.socket]:
    """A listener whose backlog is full, and which answers no more."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
        filling = [socket.socket() for _ in range(4)]
        for filler in filling:
            filler.setblocking(False)
            filler.connect_ex(silent.getsockname())
        yield silent
        for filler in filling:
            filler.close()


@counts_descriptors
def test_cancelling_closes_what_is_under_way(reactor: Reactor) -> None:
    with not_answering() as silent:
        number = silent.getsockname()[1]
        before = open_descriptors()
        connecting = DualStackClientEndpoint(reactor, "127.0.0.1", number).connect(ClientFactory())
        reactor.iterate(0)
        assert len(open_descriptors() - before) == 1
        failures: list[Any] = []
        connecting.addErrback(failures.append)
        connecting.cancel()
        assert failures[0].check(error.ConnectingCancelledError)
        assert open_descriptors() <= before
        with pytest.raises(error.TimeoutError, match="no answer"):
            connect(reactor, "127.0.0.1", number, timeout=0.05)
        assert open_descriptors() <= before


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@counts_descriptors
def test_what_has_connected_at_once_is_not_told_at_once_and_can_be_cancelled(
    reactor: Reactor, server: Any, host: str
) -> None:
    before = open_descriptors()
    endpoint = DualStackClientEndpoint(reactor, host, server.getHost().port)
    connecting = endpoint.connect(ClientFactory())
    assert not connecting.called
    assert len(open_descriptors() - before) == 1
    connecting.cancel()
    with pytest.raises(error.ConnectingCancelledError):
        reactor.result_of(connecting)
    # The server still has to notice.
    reactor.until(lambda: open_descriptors() <= before)


def test_late_answers_are_answers(reactor: Reactor) -> None:
    with not_answering() as accepting, not_answering() as refusing:
        accepted, refused = (
            DualStackClientEndpoint(reactor, *silent.getsockname()).connect(ClientFactory())
            for silent in (accepting, refusing)
        )
        reactor.iterate(0)
        assert not accepted.called
        assert not refused.called
        refusing.close()
        accepting.setblocking(False)
        waiting = []
        # The kernel asks again after a second.
        while not accepted.called:
            reactor.iterate(0.05)
            with suppress(BlockingIOError):
                waiting.append(accepting.accept()[0])
        client = reactor.result_of(accepted)
        assert client.transport.getPeer().port == accepting.getsockname()[1]
        with pytest.raises(error.ConnectionRefusedError):
            reactor.result_of(refused)
        close(reactor, client)
        for each in waiting:
            each.close()


def test_one_endpoint_connects_many_times(reactor: Reactor, server: Any) -> None:
    before = open_descriptors()
    endpoint = DualStackClientEndpoint(reactor, "127.0.0.1", server.getHost().port)
    clients = [reactor.result_of(endpoint.connect(ClientFactory())) for _ in range(20)]
    assert len({client.transport.getHost().port for client in clients}) == 20
    for client in clients:
        close(reactor, client)
    reactor.until(lambda: open_descriptors() <= before)


class Egress:
    """Lets nothing out to one address."""

    @hookimpl
    def dsadapter_before_connect(self, attempt: Any) -> None:
        if attempt.destination[0] == "127.0.0.1":
            raise PermissionError("not there")


@pytest.mark.parametrize("host", [*SPELLINGS, "localhost"])
def test_a_plugin_refuses_a_destination_in_any_spelling(
    reactor: Reactor, ipv4_only: Any, host: str
) -> None:
    number = ipv4_only.getHost().port
    before = open_descriptors()
    with registered(Egress(), "egress"):
        with pytest.raises(error.ConnectError) as caught:
            connect(reactor, host, number)
    assert "plugin 'egress' refused: not there" in str(caught.value)
    del caught
    assert open_descriptors() <= before


def test_the_endpoint_string(reactor: Reactor, server: Any) -> None:
    number = server.getHost().port
    for description in (
        f"dualstack:127.0.0.1:{number}",
        f"dualstack:host=localhost:port={number}:timeout=5:bindAddress=127.0.0.1",
        rf"dualstack:\:\:1:{number}",
    ):
        endpoint = clientFromString(reactor, description)
        assert type(endpoint) is DualStackClientEndpoint
        assert verifyObject(IStreamClientEndpoint, endpoint)
        connecting: Deferred[Any] = endpoint.connect(ClientFactory())
        close(reactor, reactor.result_of(connecting))


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("dualstack:example.com", "needs port"),
        ("dualstack:example.com:80:81", "'81' after host and port"),
        ("dualstack:example.com:0", "port '0'"),
        ("dualstack:example.com:http", "port 'http'"),
        ("dualstack:[::1]:80", r"; write 'dualstack:\\:\\:1:80', in a shell"),
        ("dualstack:::1:80", r"; write 'dualstack:\\:\\:1:80', in a shell"),
        ("dualstack:127.1:80", "'127.1'"),
        ("dualstack:2130706433:80", "'2130706433'"),
        ("dualstack:0x7f.1:80", "'0x7f.1'"),
        ("dualstack:example.com:80:bindAddress=localhost", "bindAddress 'localhost'"),
        ("dualstack:example.com:80:timeout=soon", "timeout 'soon'"),
        ("dualstack:example.com:80:attemptDelay=9", "attemptDelay"),
        ("dualstack:example.com:80:backlog=9", "no option 'backlog'"),
    ],
)
def test_malformed_strings_name_the_part(description: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        clientFromString(MemoryReactor(), description)
    assert message.replace(r"\\", "\\") in str(caught.value)


def test_a_reactor_without_descriptors_is_asked_and_nothing_opens() -> None:
    reactor = MemoryReactor()
    before = open_descriptors()
    DualStackClientEndpoint(
        reactor, "::ffff:127.0.0.1", 80, bindAddress="::ffff:127.0.0.2"
    ).connect(ClientFactory())
    [(host, port, _factory, timeout, bind)] = reactor.tcpClients
    assert (host, port, timeout, bind) == ("127.0.0.1", 80, 30, ("127.0.0.2", 0))
    assert open_descriptors() <= before
