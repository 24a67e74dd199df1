"""Connecting that meets what nobody expects: it ends, once, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.faults import Faults
from support.listeners import Recorder, RecordingFactory
from support.reactors import Reactor, open_descriptors
from support.resolvers import Hosts, Resolution, Scripted
from support.silent import answering, silent
from twisted.internet import error
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolver
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from dsadapter import hookimpl
from dsadapter.frameworks.twisted import DualStackClientEndpoint
from dsadapter.testing import registered

NAME = "name.example"
TIMEOUT = 0.3
QUICK = {"timeout": TIMEOUT, "attemptDelay": 0.01, "rememberOutcomes": False}


class Connecting:
    """One connect, and what it leaves behind."""

    def __init__(self, reactor: Reactor, factory: RecordingFactory | None = None) -> None:
        self.reactor = reactor
        self.factory = factory or RecordingFactory()
        self.ends: list[Any] = []
        self.before = open_descriptors()

    def begin(self, host: str, port: int, *addresses: str, **options: Any) -> Deferred[Any]:
        if addresses:
            self.reactor.installNameResolver(Hosts({host: addresses}))
        endpoint = DualStackClientEndpoint(self.reactor, host, port, **{**QUICK, **options})
        self.deferred = endpoint.connect(self.factory)
        self.deferred.addBoth(self.ends.append)
        return self.deferred

    def end(self) -> Any:
        """The outcome, which comes in time; after that nothing is to do and nothing open."""
        waited: list[Any] = []
        waiting = self.reactor.callLater(2 * TIMEOUT, waited.append, None)
        self.reactor.until(lambda: self.ends or waited)
        if not waited:
            waiting.cancel()
        assert self.ends, "it never ends"
        return self.ends[0]

    def failed(self, *kinds: type[BaseException]) -> Any:
        outcome = self.end()
        assert isinstance(outcome, Failure), f"it has succeeded with {outcome}"
        assert not kinds or outcome.check(*kinds), outcome
        self.left_nothing()
        return outcome.value

    def connected(self) -> None:
        outcome = self.end()
        assert not isinstance(outcome, Failure), outcome
        outcome.transport.abortConnection()
        self.reactor.until(lambda: self.factory.lost)
        self.left_nothing()

    def left_nothing(self) -> None:
        """Turns that are due included."""
        for _ in range(3):
            self.reactor.iterate(0)
        assert len(self.ends) == 1
        assert open_descriptors() <= self.before
        assert self.reactor.getDelayedCalls() == []
        assert self.factory.started == 0


class Opened:
    """The sockets of all attempts."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []

    @hookimpl(tryfirst=True)
    def dsadapter_before_connect(self, sock: socket.socket) -> None:
        self.sockets.append(sock)


@pytest.fixture(autouse=True)
def opened() -> Iterator[None]:
    """Nothing that stays open is another test's trouble."""
    with registered(Opened()) as opened:
        yield
    for sock in opened.sockets:
        sock.close()


@pytest.fixture
def connecting(reactor: Reactor) -> Connecting:
    return Connecting(reactor)


@pytest.fixture
def complaints() -> Iterator[list[Any]]:
    """The errors that the log is told, which then fail nothing."""
    met: list[Any] = []

    def observe(event: Any) -> None:
        if event.get("log_failure") is not None:
            met.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    yield met
    globalLogPublisher.removeObserver(observe)


TARGETS = {
    "literal": ("127.0.0.1", ()),
    "name": (NAME, ("::1",)),
}
targets = pytest.mark.parametrize("target", TARGETS)
FULL = {"ENOSPC": errno.ENOSPC, "ENOMEM": errno.ENOMEM}


@targets
@pytest.mark.parametrize("number", FULL)
@pytest.mark.not_on_windows("seccomp is Linux's")
def test_the_reactor_can_watch_no_attempt(connecting: Connecting, target: str, number: str) -> None:
    host, addresses = TARGETS[target]
    faults = Faults("epoll_ctl")
    faults.always("epoll_ctl", FULL[number])

    def body() -> None:
        with silent("127.0.0.1", "::1") as port:
            connecting.before = open_descriptors()
            connecting.begin(host, port, *addresses)
            assert connecting.failed(error.ConnectError).osError == FULL[number]

    faults.run(body)
    assert faults.asked["epoll_ctl"]


@pytest.mark.parametrize("number", FULL)
@pytest.mark.parametrize("last", ["answers", "is silent"])
@pytest.mark.parametrize("which", [1, 2])
@pytest.mark.not_on_windows("seccomp is Linux's")
def test_the_reactor_can_t_watch_one_of_many_attempts(
    connecting: Connecting, which: int, last: str, number: str
) -> None:
    faults = Faults("epoll_ctl")
    faults.fail("epoll_ctl", FULL[number], after=which - 1)
    last_host = "127.0.0.4" if last == "is silent" else "127.0.0.3"

    def body() -> None:
        with silent("127.0.0.1", "127.0.0.2", "127.0.0.4") as port, answering(port, "127.0.0.3"):
            connecting.before = open_descriptors()
            connecting.begin(NAME, port, "127.0.0.1", "127.0.0.2", last_host)
            if last == "answers":
                connecting.connected()
            else:
                connecting.failed(error.TimeoutError)

    faults.run(body)
    assert faults.asked["epoll_ctl"] >= which


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("number", FULL)
@pytest.mark.not_on_windows("seccomp is Linux's")
def test_the_reactor_can_t_watch_the_connection(
    connecting: Connecting, host: str, number: str
) -> None:
    faults = Faults("epoll_ctl")
    faults.always("epoll_ctl", FULL[number])

    def body() -> None:
        with silent("127.0.0.9") as port, answering(port, host):
            connecting.before = open_descriptors()
            connecting.begin(host, port)
            connecting.failed(OSError, error.ConnectError)

    faults.run(body)
    assert faults.asked["epoll_ctl"]


class Raising:
    """A check or an observer that raises."""

    def __init__(self, raised: type[BaseException], after: int = 0) -> None:
        self.raised, self.after = raised, after

    @hookimpl
    def dsadapter_before_connect(self, attempt: Any) -> None:
        self.after -= 1
        if self.after < 0:
            raise self.raised("as told")


# An exception, and one that is no ``Exception``.
raised = pytest.mark.parametrize("raised", [ValueError, asyncio.CancelledError])


@raised
@targets
def test_a_check_raises(
    connecting: Connecting, complaints: list[Any], target: str, raised: Any
) -> None:
    host, addresses = TARGETS[target]
    with silent("127.0.0.1", "::1") as port, registered(Raising(raised)):
        connecting.before = open_descriptors()
        connecting.begin(host, port, *addresses)
        connecting.failed(error.ConnectError)


@raised
def test_a_check_raises_at_a_later_attempt(
    connecting: Connecting, complaints: list[Any], raised: Any
) -> None:
    hosts = ("127.0.0.1", "127.0.0.2")
    with silent(*hosts) as port, registered(Raising(raised, after=1)):
        connecting.before = open_descriptors()
        connecting.begin(NAME, port, *hosts)
        connecting.failed(error.TimeoutError)


@implementer(IHostResolution)
class Unstoppable(Resolution):
    def cancel(self) -> None:
        raise RuntimeError("can't be cancelled")


@implementer(IHostnameResolver)
class Deaf:
    """Never answers, or only in part."""

    def __init__(self, *answers: Any) -> None:
        self.answers = answers

    def resolveHostName(self, receiver: Any, hostName: str, *args: Any, **kwargs: Any) -> Any:
        resolution = Unstoppable(hostName)
        receiver.resolutionBegan(resolution)
        for answer in self.answers:
            receiver.addressResolved(answer)
        return resolution


@implementer(IResolver)
class DeafToRecords:
    """Likewise, by records."""

    def lookupIPV6Address(self, name: str, timeout: Any = None) -> Deferred[Any]:
        return self.lookupAddress(name)

    def lookupAddress(self, name: str, timeout: Any = None) -> Deferred[Any]:
        def cancel(_: Any) -> None:
            raise RuntimeError("can't be cancelled")

        return Deferred(cancel)


UNSTOPPABLE: dict[str, Callable[[], Any]] = {"hostnames": Deaf, "records": DeafToRecords}


@pytest.mark.parametrize("resolver", UNSTOPPABLE)
def test_a_resolver_can_t_be_stopped_when_time_is_up(connecting: Connecting, resolver: str) -> None:
    connecting.begin(NAME, 1, resolver=UNSTOPPABLE[resolver]())
    connecting.failed(error.TimeoutError)


@pytest.mark.parametrize("resolver", UNSTOPPABLE)
def test_a_resolver_can_t_be_stopped_when_it_is_cancelled(
    connecting: Connecting, resolver: str
) -> None:
    connecting.begin(NAME, 1, resolver=UNSTOPPABLE[resolver]()).cancel()
    connecting.failed(error.ConnectingCancelledError)


def test_the_reactor_s_resolver_can_t_be_stopped(connecting: Connecting) -> None:
    connecting.reactor.installNameResolver(Deaf())
    connecting.begin(NAME, 1)
    connecting.failed(error.TimeoutError)


def test_a_resolver_can_t_be_stopped_when_one_address_has_won(connecting: Connecting) -> None:
    with silent("127.0.0.9") as port, answering(port, "::1"):
        connecting.before = open_descriptors()
        connecting.reactor.installNameResolver(Deaf(IPv6Address("TCP", "::1", port)))
        connecting.begin(NAME, port)
        connecting.connected()


class Later(Scripted):
    """Answers in the next turn."""

    def __init__(self, reactor: Reactor, *answers: Any) -> None:
        super().__init__(*answers)
        self.reactor = reactor

    def resolveHostName(self, *args: Any, **kwargs: Any) -> Any:
        self.reactor.callLater(0, super().resolveHostName, *args, **kwargs)


class ToldOf:
    """Cancels the connect when it is told of it."""

    def __init__(self, connecting: Connecting, refuses: bool) -> None:
        self.connecting, self.refuses = connecting, refuses

    @hookimpl
    def dsadapter_before_connect(self, attempt: Any) -> None:
        if self.refuses:
            raise ValueError("as told")
        self.connecting.deferred.cancel()

    @hookimpl
    def dsadapter_operation_refused(self, refusal: Any) -> None:
        self.connecting.deferred.cancel()


@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize("count", [1, 2])
def test_a_plugin_cancels(
    connecting: Connecting, complaints: list[Any], refuses: bool, count: int
) -> None:
    hosts = ("127.0.0.1", "127.0.0.2")[:count]
    with silent(*hosts) as port, registered(ToldOf(connecting, refuses)):
        connecting.before = open_descriptors()
        answers = [IPv4Address("TCP", host, port) for host in hosts]
        connecting.begin(NAME, port, resolver=Later(connecting.reactor, *answers))
        connecting.failed(error.ConnectingCancelledError)
        assert complaints == []


class Moody(RecordingFactory):
    """Raises at one of its stages."""

    def __init__(self, stage: str, raised: Any) -> None:
        super().__init__()
        self.stage, self.raised = stage, raised

    def meet(self, stage: str) -> None:
        if stage == self.stage:
            raise self.raised("as told")

    def startFactory(self) -> None:
        self.meet("start")
        super().startFactory()

    def stopFactory(self) -> None:
        super().stopFactory()
        self.meet("stop")

    def buildProtocol(self, addr: Any) -> Any:
        self.meet("build")
        protocol = MoodyProtocol()
        protocol.factory = self
        return protocol


class MoodyProtocol(Recorder):
    def logPrefix(self) -> str:
        self.factory.meet("prefix")
        return super().logPrefix()

    def connectionMade(self) -> None:
        self.factory.meet("made")
        super().connectionMade()


@targets
@pytest.mark.parametrize("stage", ["start", "stop", "build", "prefix", "made"])
@raised
def test_the_application_raises(
    reactor: Reactor, complaints: list[Any], stage: str, target: str, raised: Any
) -> None:
    host, addresses = TARGETS[target]
    connecting = Connecting(reactor, Moody(stage, raised))
    with silent("127.0.0.9") as port, answering(port, "127.0.0.1", "::1"):
        connecting.before = open_descriptors()
        connecting.begin(host, port, *addresses)
        if stage == "stop":
            connecting.connected()
        else:
            connecting.failed(raised)


@raised
@targets
@pytest.mark.parametrize("how", ["refused", "late", "cancelled"])
def test_the_factory_raises_when_it_is_stopped(
    reactor: Reactor, complaints: list[Any], how: str, target: str, raised: Any
) -> None:
    host, addresses = TARGETS[target]
    connecting = Connecting(reactor, Moody("stop", raised))
    kinds = {
        "refused": error.ConnectionRefusedError,
        "late": error.TimeoutError,
        "cancelled": error.ConnectingCancelledError,
    }
    with silent(*(["127.0.0.9"] if how == "refused" else ["127.0.0.1", "::1"])) as port:
        connecting.before = open_descriptors()
        deferred = connecting.begin(host, port, *addresses)
        if how == "cancelled":
            deferred.cancel()
        connecting.failed(kinds[how])
