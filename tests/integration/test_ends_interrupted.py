"""Ports whose opening or closing meets what nobody expects: all of a port opens, or nothing; all of
it closes."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from support.faults import Faults
from support.foreign_reactor import ForeignReactor
from support.listeners import RecordingFactory, connects
from support.reactors import Reactor, open_descriptors
from twisted.internet.protocol import DatagramProtocol

from dsadapter import hookimpl
from dsadapter.frameworks.twisted import DualStackDatagramEndpoint, DualStackServerEndpoint
from dsadapter.testing import RecordingPlugin, registered


class Moody(RecordingFactory):
    """Raises when it starts or when it stops."""

    def __init__(self, stage: str = "") -> None:
        super().__init__()
        self.stage = stage

    def startFactory(self) -> None:
        if self.stage == "start":
            raise ValueError("as told")
        super().startFactory()

    def stopFactory(self) -> None:
        super().stopFactory()
        if self.stage == "stop":
            raise ValueError("as told")


class MoodyDatagrams(DatagramProtocol):
    """Likewise."""

    def __init__(self, stage: str = "") -> None:
        self.stage = stage

    def startProtocol(self) -> None:
        if self.stage == "start":
            raise ValueError("as told")

    def stopProtocol(self) -> None:
        if self.stage == "stop":
            raise ValueError("as told")


class Place(NamedTuple):
    """One of the ways of listening."""

    reactor: Callable[[], Any]
    interface: str
    hosts: tuple[str, ...]
    datagrams: bool = False

    def listen(self, reactor: Any, stage: str = "") -> Any:
        endpoint: Any
        if self.datagrams:
            endpoint = DualStackDatagramEndpoint(reactor, 0, interface=self.interface)
            return endpoint.listen(MoodyDatagrams(stage))
        endpoint = DualStackServerEndpoint(reactor, 0, interface=self.interface)
        return endpoint.listen(Moody(stage))

    def served(self, number: int) -> list[str]:
        """The loopback addresses at which somebody has the port."""
        if not self.datagrams:
            return [host for host in ("127.0.0.1", "::1") if connects(host, number)]
        return [host for host in ("127.0.0.1", "::1") if not _is_free(host, number)]


def _is_free(host: str, number: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as skt:
        try:
            skt.bind((host, number))
        except OSError:
            return False
    return True


BOTH = ("127.0.0.1", "::1")
PLACES = {
    "streams": Place(Reactor, "::", BOTH),
    "pair": Place(Reactor, "localhost", BOTH),
    "adopted": Place(ForeignReactor, "::", BOTH),
    "adopted pair": Place(ForeignReactor, "localhost", BOTH),
    "datagrams": Place(Reactor, "::", BOTH, datagrams=True),
}


def places(only: tuple[str, ...] = tuple(PLACES), **faults: str) -> pytest.MarkDecorator:
    """Each of them, some with a fault."""
    return pytest.mark.parametrize(
        "place",
        [pytest.param(name, marks=_marks(faults.get(name.replace(" ", "_")))) for name in only],
        indirect=True,
    )


def _marks(reason: str | None) -> list[pytest.MarkDecorator]:
    if reason is None:
        return []
    return [pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason)]


class Opened:
    """Closes what a test has left open."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []

    @hookimpl
    def dsadapter_before_bind(self, sock: socket.socket) -> None:
        self.sockets.append(sock)


@pytest.fixture(autouse=True)
def opened() -> Iterator[None]:
    with registered(Opened()) as opened:
        yield
    for sock in opened.sockets:
        sock.close()


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    return PLACES[request.param]


@pytest.fixture
def driven(place: Place) -> Iterator[Any]:
    made = place.reactor()
    # What a reactor, or Twisted, opens for good.
    made.result_of(made.result_of(place.listen(made)).stopListening())
    yield made
    made.close()


def end(driven: Any, deferred: Any) -> list[Any]:
    """What came of it, if something did."""
    ends: list[Any] = []
    if deferred is not None:
        deferred.addBoth(ends.append)
    for _ in range(5):
        driven.iterate(0)
    return ends


@places()
def test_the_application_raises_when_it_is_stopped(place: Place, driven: Any) -> None:
    with registered(RecordingPlugin()) as recording:
        port = driven.result_of(place.listen(driven, "stop"))
        number = port.getHost().port
        assert place.served(number) == list(place.hosts)
        end(driven, port.stopListening())
        driven.iterate(0)
        assert place.served(number) == []
        assert recording.of("listener_closed") == [port]


@places()
def test_the_application_raises_when_it_is_started(place: Place, driven: Any) -> None:
    before, readers = open_descriptors(), driven.getReaders()
    with registered(RecordingPlugin()) as recording:
        deferred = place.listen(driven, "start")
        with pytest.raises(ValueError, match="as told"):
            driven.result_of(deferred)
    assert open_descriptors() <= before
    assert driven.getReaders() == readers
    assert recording.of("listener_opened") == recording.of("listener_closed")


@places()
@pytest.mark.not_on_windows("denies calls by seccomp")
def test_the_reactor_can_t_watch_the_only_or_first_socket(place: Place, driven: Any) -> None:
    cannot_watch(place, driven, 1)


@places(only=("pair", "adopted pair"))
@pytest.mark.not_on_windows("denies calls by seccomp")
def test_the_reactor_can_t_watch_the_second_socket(place: Place, driven: Any) -> None:
    cannot_watch(place, driven, 2)


def cannot_watch(place: Place, driven: Any, which: int) -> None:
    """The port doesn't open, and what it would have opened can be had at once."""
    faults = Faults("epoll_ctl")
    readers = driven.getReaders()

    def body() -> None:
        before = open_descriptors()
        faults.fail("epoll_ctl", errno.ENOSPC, after=which - 1)
        with pytest.raises(OSError, match="No space left"):
            driven.result_of(place.listen(driven))
        assert open_descriptors() <= before
        # One that stays would be taken for the next owner of its number.
        assert driven.getReaders() == readers
        driven.result_of(driven.result_of(place.listen(driven)).stopListening())

    faults.run(body)


@places()
def test_it_is_told_closed_when_all_of_it_is_closed(place: Place, driven: Any) -> None:
    seen: list[list[str]] = []

    class Observer:
        @hookimpl
        def dsadapter_listener_closed(self) -> None:
            seen.append(place.served(number))

    with registered(Observer()):
        port = driven.result_of(place.listen(driven))
        number = port.getHost().port
        driven.result_of(port.stopListening())
    assert seen == [[]]


@places()
def test_its_repr_shows_the_bound_port(place: Place, driven: Any) -> None:
    port = driven.result_of(place.listen(driven))
    number = port.getHost().port
    try:
        assert str(number) in repr(port)
    finally:
        driven.result_of(port.stopListening())


@places()
def test_stopping_fails_with_the_error_itself(place: Place, driven: Any) -> None:
    port = driven.result_of(place.listen(driven, "stop"))
    ends = end(driven, port.stopListening())
    assert len(ends) == 1
    [outcome] = ends
    # Where the application is told from the reactor, the error is logged instead.
    assert outcome is None or outcome.check(ValueError)
