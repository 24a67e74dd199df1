"""What is open when connecting ends: attempts that are held until a test lets them go at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.held import LIVE, NAME, PORT, REFUSED, Attempts, Network, held_network
from support.listeners import Recorder, RecordingFactory
from support.namespaces import needs_root
from support.processes import PATIENCE
from support.reactors import REACTORS, open_descriptors
from support.resolvers import Hosts
from twisted.application.internet import ClientService
from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.web.client import Agent

from dsadapter.frameworks.twisted import DualStackAgentEndpointFactory, DualStackClientEndpoint
from dsadapter.testing import registered

pytestmark = needs_root


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with held_network(tmp_path_factory.mktemp("network")) as made:
        yield made


class Scene:
    """A reactor in the network, and one connect with its attempts under way."""

    def __init__(self, network: Network, reactor: Any) -> None:
        self.network, self.reactor = network, reactor
        self.attempts = Attempts()
        self.factory = RecordingFactory()
        self.ends: list[Any] = []
        """The outcome, and which attempts and how many more descriptors were open then."""
        network.hold()
        self.before = open_descriptors()

    def endpoint(self, addresses: Any, **options: Any) -> DualStackClientEndpoint:
        self.reactor.installNameResolver(Hosts({NAME: addresses}))
        options = {"attemptDelay": 0.01, "rememberOutcomes": False, **options}
        return DualStackClientEndpoint(self.reactor, NAME, PORT, **options)

    def connect(self, addresses: Any, **options: Any) -> Deferred[Any]:
        """Returns when an attempt at each address is under way, and none has got anywhere."""
        connecting = self.endpoint(addresses, **options).connect(self.factory)
        connecting.addBoth(self._ended)
        self.reactor.until(lambda: len(self.attempts) == len(addresses) or self.ends)
        assert self.attempts.open() == list(addresses)
        assert not self.ends
        return connecting

    def _ended(self, outcome: Any) -> None:
        self.ends.append((outcome, self.attempts.open(), self.more()))

    def more(self) -> int:
        return len(open_descriptors() - self.before)

    def end(self) -> tuple[Any, list[str], int]:
        self.reactor.until(lambda: self.ends)
        [end] = self.ends
        return end

    def failed_with(self, kind: type[Exception]) -> Any:
        """Nothing is open when it fails."""
        outcome, *still_open = self.end()
        assert outcome.check(kind), outcome
        assert still_open == [[], 0]
        assert self.factory.started == 0
        return outcome.value

    def is_cancelled(self) -> None:
        """What has connected or failed already is open for a turn: it may have an event in hand."""
        outcome, *_ = self.end()
        assert outcome.check(error.ConnectingCancelledError), outcome
        self.reactor.iterate(0)
        assert (self.attempts.open(), self.more()) == ([], 0)
        assert self.factory.started == 0

    def connected_to(self, *possible: str) -> None:
        """The winner alone is open when it succeeds."""
        outcome, *still_open = self.end()
        winner = outcome.transport.getPeer().host
        assert winner in possible
        assert still_open == [[winner], 1]
        assert self.accepted() == [winner]
        outcome.transport.abortConnection()
        self.reactor.until(lambda: self.factory.lost)
        assert self.more() == 0
        assert self.factory.started == 0

    def accepted(self) -> list[str]:
        """The servers on which a connection has been made and not been closed."""
        found = []
        for address, server in self.network.servers.items():
            server.setblocking(False)
            while True:
                try:
                    connection, _ = server.accept()
                except BlockingIOError:
                    break
                with connection, contextlib.suppress(ConnectionResetError):
                    connection.setblocking(False)
                    try:
                        assert connection.recv(1) == b""
                    except BlockingIOError:
                        found.append(address)
        return found


@pytest.fixture(params=REACTORS)
def scene(network: Network, request: pytest.FixtureRequest) -> Iterator[Scene]:
    with playing(network, request.param) as made:
        yield made


@contextlib.contextmanager
def playing(network: Network, reactor: str) -> Iterator[Scene]:
    driven = REACTORS[reactor]()
    try:
        made = Scene(network, driven)
        with registered(made.attempts, "attempts"):
            yield made
        assert made.accepted() == []
    finally:
        driven.close()


def test_all_attempts_connect_in_one_turn(scene: Scene) -> None:
    scene.connect(LIVE)
    scene.network.let_go(*LIVE)
    scene.attempts.wait_until_over(LIVE)
    scene.connected_to(*LIVE)


def test_one_connects_beside_others_that_are_silent(scene: Scene) -> None:
    scene.connect(LIVE)
    scene.network.let_go(LIVE[2])
    scene.connected_to(LIVE[2])


def test_one_connects_in_the_turn_in_which_others_fail(scene: Scene) -> None:
    addresses = [REFUSED[0], LIVE[1], REFUSED[2], LIVE[3]]
    scene.connect(addresses)
    scene.network.let_go(*addresses)
    scene.attempts.wait_until_over(addresses)
    scene.connected_to(LIVE[1], LIVE[3])


def test_all_fail_in_one_turn(scene: Scene) -> None:
    scene.connect(REFUSED)
    scene.network.let_go(*REFUSED)
    scene.attempts.wait_until_over(REFUSED)
    failed = scene.failed_with(error.ConnectionRefusedError)
    assert [attempt.address[0] for attempt in failed.attempts] == list(REFUSED)


def test_cancelling_beside_silent_attempts(scene: Scene) -> None:
    scene.connect(LIVE).cancel()
    scene.failed_with(error.ConnectingCancelledError)


def test_cancelling_when_all_have_connected_already(scene: Scene) -> None:
    connecting = scene.connect(LIVE)
    scene.network.let_go(*LIVE)
    scene.attempts.wait_until_over(LIVE)
    connecting.cancel()
    scene.is_cancelled()


class Impatient(Recorder):
    """Cancels the connect that it is made for."""

    def connectionMade(self) -> None:
        super().connectionMade()
        self.factory.cancel("made")


class ImpatientFactory(RecordingFactory):
    protocol = Impatient

    def __init__(self, stage: str) -> None:
        super().__init__()
        self.stage = stage

    def buildProtocol(self, addr: Any) -> Any:
        self.cancel("build")
        return super().buildProtocol(addr)

    def cancel(self, stage: str) -> None:
        if stage == self.stage:
            self.connecting.cancel()


@pytest.mark.parametrize("stage", ["build", "made"])
def test_cancelling_while_the_winner_is_told(scene: Scene, stage: str) -> None:
    scene.factory = ImpatientFactory(stage)
    scene.factory.connecting = scene.connect(LIVE)
    scene.network.let_go(*LIVE)
    outcome, *_ = scene.end()
    assert outcome.check(error.ConnectingCancelledError)
    scene.reactor.until(lambda: scene.more() == 0)
    assert len(scene.factory.lost) == len(scene.factory.made) == (stage == "made")
    assert scene.factory.started == 0


def test_time_is_up_beside_silent_attempts(scene: Scene) -> None:
    scene.connect(LIVE, timeout=1)
    failed = scene.failed_with(error.TimeoutError)
    assert [attempt.address[0] for attempt in failed.attempts] == list(LIVE)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    fates=st.lists(st.sampled_from(["live", "refused", "silent"]), min_size=1, max_size=4),
    cancel=st.booleans(),
)
def test_whatever_becomes_of_the_attempts(network: Network, fates: list[str], cancel: bool) -> None:
    addresses = [(LIVE, REFUSED)[fate == "refused"][i] for i, fate in enumerate(fates)]
    answering = [
        address for address, fate in zip(addresses, fates, strict=True) if fate != "silent"
    ]
    with playing(network, "epoll") as scene:
        lasts = "silent" in fates and "live" not in fates
        connecting = scene.connect(addresses, timeout=1 if lasts else PATIENCE)
        network.let_go(*answering)
        scene.attempts.wait_until_over(answering)
        if cancel:
            connecting.cancel()
            scene.is_cancelled()
        elif "live" in fates:
            scene.connected_to(*(a for a in answering if a in LIVE))
        else:
            scene.failed_with(error.TimeoutError if lasts else error.ConnectionRefusedError)


def test_a_ClientService_that_is_stopped(scene: Scene) -> None:
    service = ClientService(scene.endpoint(LIVE), scene.factory, clock=scene.reactor)
    service.startService()
    scene.reactor.until(lambda: len(scene.attempts) == len(LIVE))
    scene.reactor.result_of(service.stopService())
    assert (scene.attempts.open(), scene.more()) == ([], 0)


def test_a_ClientService_that_connects_again(scene: Scene) -> None:
    scene.network.let_go(*LIVE)
    service = ClientService(
        scene.endpoint(LIVE), scene.factory, retryPolicy=lambda _: 0, clock=scene.reactor
    )
    service.startService()
    for times in (1, 2, 3):
        scene.reactor.until(lambda: len(scene.factory.made) == times)  # noqa: B023
        assert scene.more() == 1
        scene.factory.made[-1].transport.abortConnection()
    scene.reactor.until(lambda: len(scene.factory.made) == 4)
    scene.reactor.result_of(service.stopService())
    assert (scene.attempts.open(), scene.more()) == ([], 0)


def test_a_request_that_is_cancelled(scene: Scene) -> None:
    scene.reactor.installNameResolver(Hosts({NAME: LIVE}))
    factory = DualStackAgentEndpointFactory(scene.reactor, attemptDelay=0.01)
    agent = Agent.usingEndpointFactory(scene.reactor, factory)
    asking = agent.request(b"GET", f"http://{NAME}:{PORT}/".encode())
    scene.reactor.until(lambda: len(scene.attempts) == len(LIVE))
    asking.cancel()
    with pytest.raises(error.ConnectingCancelledError):
        scene.reactor.result_of(asking)
    assert (scene.attempts.open(), scene.more()) == ([], 0)
