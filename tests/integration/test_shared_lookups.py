"""Connects that want the same addresses at the same time, and what is asked for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.listeners import RecordingFactory, stop
from support.reactors import Reactor
from support.resolvers import Resolution, Scripted
from twisted.internet import error
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IHostnameResolver, IResolver
from twisted.names import dns
from zope.interface import implementer

from dsadapter.frameworks.twisted import DualStackClientEndpoint, DualStackServerEndpoint

NAME = "name.example"


@implementer(IHostnameResolver)
class Held:
    """Answers when a test says so."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.waiting: list[tuple[Any, Any]] = []

    def resolveHostName(
        self,
        receiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        self.asked.append((hostName, addressTypes))
        resolution = Resolution(hostName)
        receiver.resolutionBegan(resolution)
        self.waiting.append((receiver, addressTypes))
        return resolution

    def answer(self) -> None:
        waiting, self.waiting = self.waiting, []
        for receiver, types in waiting:
            if types is None or IPv4Address in types:
                receiver.addressResolved(IPv4Address("TCP", "127.0.0.1", 0))
            receiver.resolutionComplete()


@implementer(IResolver)
class HeldRecords:
    """The same, by record."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.waiting: list[tuple[Deferred[Any], list[Any]]] = []

    def _ask(self, name: str, records: list[Any], kind: Any) -> Deferred[Any]:
        self.asked.append((name, kind))
        answer: Deferred[Any] = Deferred()
        self.waiting.append((answer, records))
        return answer

    def lookupAddress(self, name: str, timeout: Any = None) -> Deferred[Any]:
        record = dns.RRHeader(name, dns.A, payload=dns.Record_A("127.0.0.1"))
        return self._ask(name, [record], (IPv4Address,))

    def lookupIPV6Address(self, name: str, timeout: Any = None) -> Deferred[Any]:
        return self._ask(name, [], (IPv6Address,))

    def answer(self) -> None:
        waiting, self.waiting = self.waiting, []
        for answer, records in waiting:
            if not answer.called:
                answer.callback((records, [], []))


class Client:
    """Connects to names on one port, by one resolver."""

    def __init__(self, reactor: Reactor, kind: str, port: int) -> None:
        self.reactor = reactor
        self.port = port
        self.resolver: Any = HeldRecords() if kind == "records" else Held()
        self.options = {} if kind == "reactor" else {"resolver": self.resolver}
        self.questions: list[Any] = (
            [None] if kind == "reactor" else [(IPv6Address,), (IPv4Address,)]
        )
        if kind == "reactor":
            reactor.installNameResolver(self.resolver)

    def connect(self, name: str = NAME) -> Deferred[Any]:
        endpoint = DualStackClientEndpoint(self.reactor, name, self.port, **self.options)
        return endpoint.connect(RecordingFactory())

    def reached(self, connecting: Deferred[Any]) -> str:
        protocol = self.reactor.result_of(connecting)
        host: str = protocol.transport.getPeer().host
        protocol.transport.abortConnection()
        return host


@pytest.fixture(params=["reactor", "hostnames", "records"])
def client(reactor: Reactor, request: pytest.FixtureRequest) -> Iterator[Client]:
    factory = RecordingFactory()
    port = reactor.result_of(DualStackServerEndpoint(reactor, 0).listen(factory))
    yield Client(reactor, request.param, port.getHost().port)
    for accepted in factory.made:
        accepted.transport.abortConnection()
    stop(reactor, port)


def test_one_lookup_is_in_flight_for_a_name(client: Client) -> None:
    connecting = [client.connect() for _ in range(30)]
    assert client.resolver.asked == [(NAME, question) for question in client.questions]
    client.resolver.answer()
    assert {client.reached(each) for each in connecting} == {"127.0.0.1"}


def test_who_leaves_takes_nothing_from_the_others(client: Client) -> None:
    first, second = client.connect(), client.connect()
    assert client.resolver.asked == [(NAME, question) for question in client.questions]
    first.cancel()
    with pytest.raises(error.ConnectingCancelledError):
        client.reactor.result_of(first)
    client.resolver.answer()
    assert client.reached(second) == "127.0.0.1"


def test_another_name_is_another_lookup(client: Client) -> None:
    names = (NAME, "other.example")
    connecting = [client.connect(name) for name in names]
    expected = [(name, question) for name in names for question in client.questions]
    assert client.resolver.asked == expected
    client.resolver.answer()
    assert [client.reached(each) for each in connecting] == ["127.0.0.1"] * 2


def test_an_answer_is_not_kept(client: Client) -> None:
    for _ in range(2):
        connecting = client.connect()
        client.resolver.answer()
        assert client.reached(connecting) == "127.0.0.1"
    assert client.resolver.asked == [(NAME, question) for question in client.questions] * 2


class OneFamily(Scripted):
    """As a system's resolver of which one family's server is silent: a joint lookup finds
    nothing."""

    def resolveHostName(
        self,
        receiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        answers = self.answers
        if addressTypes is None:
            self.answers = ()
        resolution = super().resolveHostName(receiver, hostName, portNumber, addressTypes)
        self.answers = answers
        return resolution


def by_default(reactor: Reactor, port: int) -> Any:
    return DualStackClientEndpoint(reactor, NAME, port)


def by_string(reactor: Reactor, port: int) -> Any:
    return clientFromString(reactor, f"dualstack:{NAME}:{port}")


CONNECTORS: list[Callable[[Reactor, int], Any]] = [by_default, by_string]


@pytest.mark.parametrize("make", CONNECTORS)
@pytest.mark.parametrize(
    "found", [IPv4Address("TCP", "127.0.0.1", 0), IPv6Address("TCP", "::1", 0)]
)
def test_a_joint_lookup_that_finds_nothing_asks_for_each_family_once(
    reactor: Reactor, make: Any, found: Any
) -> None:
    resolver = OneFamily(found)
    reactor.installNameResolver(resolver)
    factory = RecordingFactory()
    port = reactor.result_of(DualStackServerEndpoint(reactor, 0).listen(factory))
    connecting = make(reactor, port.getHost().port).connect(RecordingFactory())
    try:
        protocol = reactor.result_of(connecting)
        assert protocol.transport.getPeer().host == found.host
        protocol.transport.abortConnection()
    finally:
        for accepted in factory.made:
            accepted.transport.abortConnection()
        stop(reactor, port)
    asked = [types for _, types in resolver.asked]
    assert asked[0] is None
    assert sorted(asked[1:], key=str) == [(IPv4Address,), (IPv6Address,)]


def test_a_name_that_neither_family_has_is_asked_for_no_more_than_that(reactor: Reactor) -> None:
    resolver = OneFamily()
    reactor.installNameResolver(resolver)
    with pytest.raises(error.DNSLookupError):
        reactor.result_of(by_default(reactor, 9).connect(RecordingFactory()))
    assert sorted((types for _, types in resolver.asked), key=str) == sorted(
        [None, (IPv4Address,), (IPv6Address,)], key=str
    )


@pytest.mark.parametrize(
    ("options", "questions"),
    [
        ("", [None]),
        (":lookup=joint", [None]),
        (":lookup=families", [(IPv6Address,), (IPv4Address,)]),
    ],
)
def test_a_string_says_how_to_ask(reactor: Reactor, options: str, questions: list[Any]) -> None:
    resolver = Held()
    reactor.installNameResolver(resolver)
    endpoint = clientFromString(reactor, f"dualstack:{NAME}:80{options}")
    connecting = endpoint.connect(RecordingFactory())
    assert resolver.asked == [(NAME, question) for question in questions]
    connecting.addErrback(lambda _: None)
    connecting.cancel()
