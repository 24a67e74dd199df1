"""An event of a socket that is closed in the same turn: nobody else is taken for its owner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.held import LIVE, NAME, PORT, REFUSED, Attempts, Network, held_network
from support.listeners import RecordingFactory
from support.namespaces import needs_root
from support.reactors import REACTORS
from support.resolvers import Hosts
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure

from dsadapter.frameworks.twisted import (
    DualStackClientEndpoint,
    DualStackDatagramEndpoint,
    DualStackServerEndpoint,
)
from dsadapter.testing import RecordingPlugin, registered

pytestmark = needs_root

OTHER = "other.example"
OPTIONS = {"attemptDelay": 0.01, "rememberOutcomes": False}
WINNER, LOSER = LIVE[0], REFUSED[1]

reactors = pytest.mark.parametrize("reactor", REACTORS, indirect=True)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with held_network(tmp_path_factory.mktemp("network")) as made:
        yield made


@pytest.fixture
def reactor(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = REACTORS[request.param]()
    yield made
    made.close()


class Turn:
    """A turn in which one attempt has connected and the other, whose socket is closed for that, has
    been refused."""

    def __init__(self, network: Network, reactor: Any) -> None:
        self.network, self.reactor = network, reactor
        self.attempts = Attempts()
        self.opened: list[Any] = []
        self.winners: list[Any] = []
        network.hold()
        names = {NAME: (WINNER, LOSER), OTHER: LIVE[2:3]}
        reactor.installNameResolver(Hosts(names))

    def open_with(self, opening: Any) -> None:
        """Call a function when one has connected, with the loser's descriptor free."""
        factory = RecordingFactory()
        endpoint = DualStackClientEndpoint(self.reactor, NAME, PORT, **OPTIONS)

        def connected(protocol: Any) -> None:
            self.winners.append(protocol)
            self.opened.append(opening())

        with registered(self.attempts, "attempts"):
            endpoint.connect(factory).addCallback(connected)
            self.reactor.until(lambda: len(self.attempts) == 2)
            assert self.attempts.open() == [WINNER, LOSER]
            self.network.let_go(WINNER)
            self.attempts.wait_until_over([WINNER])
            self.network.let_go(LOSER)
            self.attempts.wait_until_over([WINNER, LOSER])
            self.reactor.until(lambda: self.opened)

    def close(self) -> None:
        for winner in self.winners:
            winner.transport.abortConnection()
        self.reactor.iterate(0)
        for server in self.network.servers.values():
            server.setblocking(False)
            while True:
                try:
                    server.accept()[0].close()
                except BlockingIOError:
                    break


@pytest.fixture
def turn(network: Network, reactor: Any) -> Iterator[Turn]:
    made = Turn(network, reactor)
    yield made
    made.close()


@reactors
def test_a_connect_is_not_told_of_it(turn: Turn) -> None:
    ends: list[Any] = []

    def connect() -> Any:
        endpoint = DualStackClientEndpoint(turn.reactor, OTHER, PORT, **OPTIONS)
        return endpoint.connect(RecordingFactory()).addBoth(ends.append)

    turn.open_with(connect)
    for _ in range(3):
        turn.reactor.iterate(0)
    try:
        assert not ends, ends[0]
    finally:
        turn.opened[0].cancel()
    assert isinstance(ends[0], Failure)
    assert ends[0].check(ConnectingCancelledError)


PORTS = {
    "streams": lambda reactor: DualStackServerEndpoint(reactor, 0).listen(RecordingFactory()),
    "pair": lambda reactor: DualStackServerEndpoint(reactor, 0, interface="localhost").listen(
        RecordingFactory()
    ),
    "datagrams": lambda reactor: DualStackDatagramEndpoint(reactor, 0).listen(DatagramProtocol()),
}


@reactors
@pytest.mark.parametrize("name", PORTS)
def test_a_listening_port_is_not_told_of_it(turn: Turn, name: str) -> None:
    ports: list[Any] = []
    with registered(RecordingPlugin()) as recording:
        turn.open_with(lambda: PORTS[name](turn.reactor).addCallback(ports.append))
        for _ in range(3):
            turn.reactor.iterate(0)
        closed = recording.of("listener_closed")
    [port] = ports
    if not closed:
        turn.reactor.result_of(port.stopListening())
    assert not closed
