"""What is served as a reactor, what only records, and what is refused."""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest
from support.datagrams import Recorder, peer
from support.foreign_reactor import ForeignReactor
from support.listeners import RecordingFactory
from support.reactors import REACTORS, Reactor, open_descriptors
from twisted.internet import defer, testing
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError, ConnectError
from twisted.internet.interfaces import IReactorCore, IReactorFDSet, IReactorTime
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.names.test import test_util
from zope.interface import implementer

from dsadapter import hookimpl
from dsadapter.frameworks.twisted import (
    DualStackClientEndpoint,
    DualStackDatagramEndpoint,
    DualStackServerEndpoint,
)
from dsadapter.plugin import get_plugin_manager
from dsadapter.testing import RecordingPlugin, registered


class Delegating:
    def __init__(self, reactor: Any) -> None:
        self._original = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


class Tracing(Delegating):
    """Every call goes by a function of its own."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._original, name)
        if not callable(value):
            return value

        @functools.wraps(value)
        def traced(*args: Any, **kwargs: Any) -> Any:
            return value(*args, **kwargs)

        return traced


class Slotted:
    """No weak references, no hash."""

    __slots__ = ("_original",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, reactor: Any) -> None:
        self._original = reactor

    def __eq__(self, other: object) -> bool:
        return self is other

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


@implementer(IReactorFDSet, IReactorTime)
class Declaring(Delegating):
    """Says for itself what it provides."""


class Claiming(Delegating):
    """As proxies of other packages do."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._original)


STAND_INS = [Delegating, Tracing, Slotted, Declaring, Claiming]


@pytest.fixture(params=STAND_INS, ids=lambda kind: kind.__name__)
def stand_in(request: pytest.FixtureRequest, reactor: Reactor) -> Any:
    return request.param(reactor)


class Gate(RecordingPlugin):
    @hookimpl
    def dsadapter_before_bind(self, sock: socket.socket) -> None:
        raise PermissionError("not here")

    @hookimpl
    def dsadapter_before_connect(self, sock: socket.socket) -> None:
        raise PermissionError("not there")


def listening(reactor: Any) -> defer.Deferred[Any]:
    return DualStackServerEndpoint(reactor, 0).listen(RecordingFactory())


def receiving(reactor: Any) -> defer.Deferred[Any]:
    return DualStackDatagramEndpoint(reactor, 0).listen(DatagramProtocol())


def connecting(reactor: Any) -> defer.Deferred[Any]:
    return DualStackClientEndpoint(reactor, "127.0.0.1", 9).connect(RecordingFactory())


OPERATIONS = {"listen": listening, "exchange datagrams": receiving, "connect": connecting}


@pytest.fixture(params=OPERATIONS)
def operation(request: pytest.FixtureRequest) -> tuple[str, Callable[[Any], Any]]:
    return request.param, OPERATIONS[request.param]


def test_streams_are_served_with_canonical_addresses_and_hooks(
    reactor: Reactor, stand_in: Any
) -> None:
    served, connected = RecordingFactory(), RecordingFactory()
    with registered(RecordingPlugin()) as recording:
        port = reactor.result_of(DualStackServerEndpoint(stand_in, 0).listen(served))
        number = port.getHost().port
        endpoint = DualStackClientEndpoint(stand_in, "127.0.0.1", number)
        client = reactor.result_of(endpoint.connect(connected))
        reactor.until(lambda: served.made)
        assert client.transport.getPeer() == IPv4Address("TCP", "127.0.0.1", number)
        assert served.made[0].transport.getPeer() == client.transport.getHost()
        client.transport.loseConnection()
        reactor.until(lambda: served.lost and connected.lost)
        reactor.result_of(port.stopListening())
    hooks = [event.hook for event in recording.events]
    assert hooks.count("before_bind") == hooks.count("before_connect") == 1
    assert {"listener_opened", "connection_made", "connection_lost", "listener_closed"} < set(hooks)


@pytest.mark.parametrize("kind", REACTORS)
def test_names_are_resolved_and_raced(kind: str) -> None:
    reactor = REACTORS[kind]()
    reactor.resolve_names()
    served = RecordingFactory()
    port = reactor.result_of(
        DualStackServerEndpoint(Tracing(reactor), 0, interface="127.0.0.1").listen(served)
    )
    for _ in range(2):
        endpoint = DualStackClientEndpoint(Slotted(reactor), "localhost", port.getHost().port)
        client = reactor.result_of(endpoint.connect(RecordingFactory()))
        client.transport.abortConnection()
    reactor.until(lambda: len(served.lost) == 2)
    reactor.result_of(port.stopListening())
    reactor.close()


def test_datagrams_are_canonical(reactor: Reactor, stand_in: Any) -> None:
    recorder = Recorder()
    recorder.answer = b"yes"
    with registered(RecordingPlugin()) as recording:
        port = reactor.result_of(DualStackDatagramEndpoint(stand_in, 0).listen(recorder))
        for host in ("127.0.0.1", "::1"):
            with peer(host) as client:
                client.sendto(b"hello", (host, port.getHost().port))
                reactor.until(lambda: recorder.got)
                assert recorder.got.pop() == (b"hello", client.getsockname()[:2])
                assert client.recv(10) == b"yes"
        reactor.result_of(port.stopListening())
    hooks = [event.hook for event in recording.events]
    assert hooks == ["before_bind", "listener_opened", "listener_closed"]


def test_a_plugin_refuses(reactor: Reactor, stand_in: Any, operation: Any) -> None:
    _, act = operation
    with registered(Gate(), "gate"):
        with pytest.raises((CannotListenError, ConnectError), match="plugin 'gate' refused"):
            reactor.result_of(act(stand_in))


def test_a_required_plugin_is_missing(
    reactor: Reactor, stand_in: Any, operation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_plugin_manager(), "_required", {"guard"})
    _, act = operation
    with pytest.raises((CannotListenError, ConnectError), match="plugin 'guard' is required"):
        reactor.result_of(act(stand_in))


def test_a_stand_in_for_a_foreign_reactor_adopts() -> None:
    foreign = ForeignReactor()
    factory = RecordingFactory()
    endpoint = DualStackServerEndpoint(Delegating(foreign), 0)
    port = foreign.result_of(endpoint.listen(factory))
    with socket.create_connection(("127.0.0.1", port.getHost().port)):
        foreign.until(lambda: factory.made)
        assert factory.made[0].transport.getPeer().host == "127.0.0.1"
    foreign.until(lambda: factory.lost)
    foreign.result_of(port.stopListening())
    foreign.close()


class OwnClock(testing.MemoryReactorClock):
    """As applications have it in their tests."""

    asked: Any = None

    def listenUDP(self, *args: Any, **kwargs: Any) -> Any:
        self.asked = args, kwargs

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


@pytest.mark.parametrize("kind", [testing.MemoryReactor, testing.MemoryReactorClock, OwnClock])
def test_Twisteds_test_reactors_and_their_subclasses_record(kind: Any) -> None:
    reactor = kind()
    before = open_descriptors()
    with registered(Gate()):
        listening(reactor)
        connecting(reactor)
        if kind is OwnClock:
            receiving(reactor)
            assert reactor.asked[0][0] == 0
    assert [(server[0], server[3]) for server in reactor.tcpServers] == [(0, "::")]
    assert [client[:2] for client in reactor.tcpClients] == [("127.0.0.1", 9)]
    assert open_descriptors() <= before


def test_a_test_reactor_that_raises_and_one_of_datagrams() -> None:
    raising = testing.RaisingMemoryReactor(CannotListenError("", 1, "no"), ConnectError("no"))
    for act in (listening, connecting):
        failures: list[Any] = []
        act(raising).addErrback(failures.append)
        assert failures[0].check(CannotListenError, ConnectError)
    reactor = test_util.MemoryReactor()
    DualStackDatagramEndpoint(reactor, 53).listen(DatagramProtocol())
    assert list(reactor.udpPorts) == [53]


@implementer(IReactorCore)
class Answering:
    """Has every attribute there is."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self


class Raising:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class Failing(Delegating):
    """Provides all that its reactor does, and raises for one attribute."""

    broken: str

    def __getattr__(self, name: str) -> Any:
        if name == self.broken:
            raise RuntimeError(f"no {name} today")
        return super().__getattr__(name)


@pytest.mark.parametrize("broken", ["nameResolver", "callLater", "seconds"])
def test_a_stand_in_that_raises_fails_the_connect(reactor: Reactor, broken: str) -> None:
    failing = Failing(reactor)
    failing.broken = broken
    connected = DualStackClientEndpoint(failing, "localhost", 9).connect(RecordingFactory())
    with pytest.raises(RuntimeError, match=f"no {broken} today"):
        reactor.result_of(connected)


NONSENSE: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "text": lambda: "reactor",
    "number": lambda: 1,
    "object": object,
    "class": lambda: Reactor,
    "clock": Clock,
    "mock": Mock,
    "magic mock": MagicMock,
    "mock of a test reactor": lambda: Mock(spec=testing.MemoryReactorClock()),
    "answering": Answering,
    "raising": Raising,
    "stand-in for a test reactor": lambda: Delegating(testing.MemoryReactorClock()),
    "tracing of a test reactor": lambda: Tracing(testing.MemoryReactorClock()),
    "claiming to be a test reactor": lambda: Claiming(testing.MemoryReactorClock()),
}


@pytest.mark.parametrize("thing", NONSENSE)
def test_anything_else_is_refused_with_one_error(thing: str, operation: Any) -> None:
    reactor = NONSENSE[thing]()
    name, act = operation
    before = open_descriptors()
    failures: list[Any] = []
    act(reactor).addErrback(failures.append)
    assert failures[0].check(NotImplementedError)
    said = failures[0].getErrorMessage()
    assert said.startswith(f"{type(reactor).__name__} can't {name} dual-stack: ")
    assert "MemoryReactorClock in tests" in said
    assert open_descriptors() <= before
