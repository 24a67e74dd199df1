"""What observers are told of the connections that a client endpoint makes."""

from __future__ import annotations

from typing import Any

import pytest
from support.listeners import RecordingFactory
from support.reactors import Reactor
from support.resolvers import Hosts
from support.silent import answering, silent
from twisted.internet.error import NoProtocol

from dsadapter import hookimpl
from dsadapter.frameworks.twisted import DualStackClientEndpoint
from dsadapter.testing import RecordingPlugin, registered


@pytest.mark.parametrize(
    ("host", "peer", "translated"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("::1", "::1", False),
        ("name.example", "::1", False),
    ],
)
@pytest.mark.parametrize("bound", [False, True])
def test_a_connection_is_told_of(
    reactor: Reactor, host: str, peer: str, translated: bool, bound: bool
) -> None:
    reactor.installNameResolver(Hosts({"name.example": ["127.0.0.9", "::1"]}))
    factory = RecordingFactory()
    options = {"bindAddress": peer} if bound else {}
    with (
        silent("127.0.0.9") as port,
        answering(port, "127.0.0.1", "::1"),
        registered(RecordingPlugin()) as recording,
    ):
        endpoint = DualStackClientEndpoint(reactor, host, port, attemptDelay=0.01, **options)
        transport = reactor.result_of(endpoint.connect(factory)).transport
        [connection] = recording.of("connection_made")
        assert recording.of("connection_lost") == []
        local = transport.getHost()
        transport.abortConnection()
        reactor.until(lambda: factory.lost)
        assert recording.of("connection_lost") == [connection]
    assert connection.framework == "twisted"
    assert connection.direction == "outbound"
    assert connection.listener is None
    assert connection.peer[:2] == (peer, port)
    assert len(connection.peer) == (4 if ":" in peer else 2)
    assert connection.local[:2] == (local.host, local.port)
    # From an IPv4 address it is an AF_INET socket.
    assert connection.translated == (translated and not bound)


class Order:
    def __init__(self) -> None:
        self.told: list[str] = []

    @hookimpl
    def dsadapter_connection_made(self, connection: Any) -> None:
        self.told.append("made")

    @hookimpl
    def dsadapter_connection_lost(self, connection: Any) -> None:
        self.told.append("lost")


@pytest.mark.parametrize("stage", ["build", "made", "none"])
def test_what_the_application_does_not_take_is_never_half_told(
    reactor: Reactor, stage: str
) -> None:
    class Raising(RecordingFactory):
        def buildProtocol(self, addr: Any) -> Any:
            if stage == "build":
                raise ValueError("as told")
            protocol = super().buildProtocol(addr)
            if stage == "made":
                protocol.connectionMade = lambda: 1 / 0
            return None if stage == "none" else protocol

    with (
        silent("127.0.0.9") as port,
        answering(port, "127.0.0.1"),
        registered(Order()) as order,
    ):
        connecting = DualStackClientEndpoint(reactor, "127.0.0.1", port).connect(Raising())
        with pytest.raises((ValueError, ZeroDivisionError, NoProtocol)):
            reactor.result_of(connecting)
        reactor.iterate(0)
    assert order.told == (["made", "lost"] if stage == "made" else [])


def test_only_one_of_the_two_is_observed(reactor: Reactor) -> None:
    class Lost:
        def __init__(self) -> None:
            self.told: list[Any] = []

        @hookimpl
        def dsadapter_connection_lost(self, connection: Any) -> None:
            self.told.append(connection.direction)

    factory = RecordingFactory()
    with silent("127.0.0.9") as port, answering(port, "::1"), registered(Lost()) as lost:
        endpoint = DualStackClientEndpoint(reactor, "::1", port)
        reactor.result_of(endpoint.connect(factory)).transport.loseConnection()
        reactor.until(lambda: factory.lost)
    assert lost.told == ["outbound"]
