"""What plugins are told of, and what they may refuse, on real Twisted listeners."""

from __future__ import annotations

import asyncio
import inspect
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from support.environments import clean_environment
from support.foreign_reactor import ForeignReactor
from support.listeners import Recorder, RecordingFactory, stop
from support.reactors import Reactor, open_descriptors
from support.spellings import LOOPBACK
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from dsadapter import hookimpl
from dsadapter.frameworks import get_framework
from dsadapter.frameworks.twisted import DualStackDatagramEndpoint, DualStackServerEndpoint
from dsadapter.interfaces import IListener
from dsadapter.plugin import get_plugin_manager
from dsadapter.policy import DatagramPolicy, ListenPolicy
from dsadapter.testing import RecordingPlugin, registered

V6ONLY = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def listen(reactor: Reactor, interface: str = "::", factory: Factory | None = None) -> Any:
    endpoint = DualStackServerEndpoint(reactor, 0, interface=interface)
    return reactor.result_of(endpoint.listen(factory or RecordingFactory()))


def connect(reactor: Reactor, port: Any, host: str) -> socket.socket:
    """A connection that the port's factory has a protocol for."""
    before = len(port.factory.made)
    client = socket.create_connection((host, port.getHost().port))
    reactor.until(lambda: len(port.factory.made) > before)
    return client


def close(reactor: Reactor, port: Any, client: socket.socket) -> None:
    before = len(port.factory.lost)
    client.close()
    reactor.until(lambda: len(port.factory.lost) > before)


def names(recording: RecordingPlugin) -> list[str]:
    return [event.hook for event in recording.events]


@pytest.mark.parametrize(
    ("interface", "host", "family", "translated"),
    [
        ("::", "127.0.0.1", "ipv4", True),
        ("::", "::1", "ipv6", False),
        ("127.0.0.1", "127.0.0.1", "ipv4", False),
        ("::1", "::1", "ipv6", False),
    ],
)
def test_a_connection_is_told_of_once_with_canonical_addresses(
    reactor: Reactor, interface: str, host: str, family: str, translated: bool
) -> None:
    with registered(RecordingPlugin()) as recording:
        port = listen(reactor, interface)
        client = connect(reactor, port, host)
        peer = client.getsockname()
        close(reactor, port, client)
        stop(reactor, port)
    assert names(recording) == [
        "before_bind",
        "listener_opened",
        "connection_made",
        "connection_lost",
        "listener_closed",
    ]
    [made], [lost] = recording.of("connection_made"), recording.of("connection_lost")
    assert lost is made
    assert made.framework == "twisted"
    assert made.listener is port
    assert made.direction == "inbound"
    assert made.peer == peer
    assert made.local[0] == host
    assert made.family == family
    assert made.translated is translated
    with pytest.raises(AttributeError):
        made.peer = ("192.0.2.1", 1)


def test_the_listener_is_the_port_and_stays_readable(reactor: Reactor) -> None:
    with registered(RecordingPlugin()) as recording:
        port = listen(reactor)
        number = port.getHost().port
        stop(reactor, port)
    assert verifyObject(IListener, port)
    assert recording.of("listener_opened") == recording.of("listener_closed") == [port]
    assert port.framework == "twisted"
    assert port.mode == "dual-stack"
    assert port.policy == ListenPolicy("::", 0)
    assert port.addresses() == (("::", number, 0, 0),)


def test_a_port_that_is_started_again_is_told_of_again(reactor: Reactor) -> None:
    with registered(RecordingPlugin()) as recording:
        port = listen(reactor)
        stop(reactor, port)
        port.startListening()
        stop(reactor, port)
    assert names(recording) == ["before_bind", "listener_opened", "listener_closed"] * 2


def test_made_comes_before_the_protocol_is_told_and_lost_after(reactor: Reactor) -> None:
    order: list[str] = []

    class Speaking(Recorder):
        def connectionMade(self) -> None:
            order.append("connectionMade")
            super().connectionMade()

        def connectionLost(self, reason: Any = None) -> None:
            order.append("connectionLost")
            super().connectionLost(reason)

    class Plugin:
        @hookimpl
        def dsadapter_connection_made(self) -> None:
            order.append("made")

        @hookimpl
        def dsadapter_connection_lost(self) -> None:
            order.append("lost")

    factory = RecordingFactory()
    factory.protocol = Speaking
    with registered(Plugin()):
        port = listen(reactor, factory=factory)
        close(reactor, port, connect(reactor, port, "127.0.0.1"))
        stop(reactor, port)
    assert order == ["made", "connectionMade", "connectionLost", "lost"]


def test_an_aborted_connection_is_lost_once(reactor: Reactor) -> None:
    with registered(RecordingPlugin()) as recording:
        port = listen(reactor)
        client = connect(reactor, port, "127.0.0.1")
        port.factory.made[0].transport.abortConnection()
        reactor.until(lambda: port.factory.lost)
        client.close()
        stop(reactor, port)
    assert len(recording.of("connection_lost")) == 1


def test_a_protocol_that_fails_is_made_and_lost_all_the_same(reactor: Reactor) -> None:
    class Failing(Recorder):
        def connectionMade(self) -> None:
            super().connectionMade()
            self.transport.abortConnection()
            raise RuntimeError("no")

    factory = RecordingFactory()
    factory.protocol = Failing
    with registered(RecordingPlugin()) as recording:
        port = listen(reactor, factory=factory)
        client = connect(reactor, port, "127.0.0.1")
        reactor.until(lambda: factory.lost)
        client.close()
        stop(reactor, port)
    assert recording.of("connection_made") == recording.of("connection_lost") != []


@pytest.mark.parametrize("hook", ["connection_made", "connection_lost"])
def test_a_plugin_may_watch_one_end_of_connections_only(reactor: Reactor, hook: str) -> None:
    told: list[Any] = []
    plugin = type("Plugin", (), {f"dsadapter_{hook}": staticmethod(hookimpl(keep(told)))})()
    with registered(plugin):
        port = listen(reactor)
        close(reactor, port, connect(reactor, port, "127.0.0.1"))
        stop(reactor, port)
    assert [connection.peer[0] for connection in told] == ["127.0.0.1"]


def keep(told: list[Any]) -> Callable[[Any], None]:
    def observe(connection: Any) -> None:
        told.append(connection)

    return observe


def test_a_plugin_that_comes_while_the_listener_is_open_is_told_from_then_on(
    reactor: Reactor,
) -> None:
    port = listen(reactor)
    early = connect(reactor, port, "127.0.0.1")
    with registered(RecordingPlugin()) as recording:
        late = connect(reactor, port, "127.0.0.1")
        address = late.getsockname()
        close(reactor, port, early)
        close(reactor, port, late)
    assert names(recording) == ["connection_made", "connection_lost"]
    assert recording.of("connection_made")[0].peer == address
    stop(reactor, port)


def test_a_plugin_that_has_gone_is_not_called_for_what_it_knew(reactor: Reactor) -> None:
    port = listen(reactor)
    with registered(RecordingPlugin(), "leaving") as leaving:
        with registered(RecordingPlugin(), "staying") as staying:
            client = connect(reactor, port, "127.0.0.1")
            get_plugin_manager().unregister("leaving")
            close(reactor, port, client)
    assert names(leaving) == ["connection_made"]
    assert names(staying) == ["connection_made", "connection_lost"]
    stop(reactor, port)


def test_observers_that_fail_leave_connections_alone(
    reactor: Reactor, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: Any) -> None:
        raise RuntimeError("a broken plugin")

    hooks = ("listener_opened", "listener_closed", "connection_made", "connection_lost")
    broken = type("Broken", (), {f"dsadapter_{hook}": hookimpl(fail) for hook in hooks})()
    with registered(broken, "broken"):
        port = listen(reactor)
        for host in ("127.0.0.1", "::1"):
            client = connect(reactor, port, host)
            port.factory.made[-1].transport.write(b"here")
            reactor.iterate(0)
            assert client.recv(4) == b"here"
            close(reactor, port, client)
        stop(reactor, port)
    for hook in hooks:
        [message] = [m for m in caplog.messages if f"dsadapter_{hook}" in m]
        assert message.startswith("plugin 'broken' raised RuntimeError: a broken plugin")


def test_a_datagram_port_is_told_of_and_can_be_refused(reactor: Reactor) -> None:
    endpoint = get_framework("twisted").datagram(reactor, DatagramPolicy("::", 0))
    with registered(RecordingPlugin()) as recording:
        port = reactor.result_of(endpoint.listen(DatagramProtocol()))
        number = port.getHost().port
        stop(reactor, port)
        assert names(recording) == ["before_bind", "listener_opened", "listener_closed"]
        assert verifyObject(IListener, port)
        assert port.addresses() == (("::", number, 0, 0),)
        before = open_descriptors()
        with registered(Refusing(refuse), "gate"):
            with pytest.raises(CannotListenError, match=r"plugin 'gate' refused: not here\.$"):
                reactor.result_of(endpoint.listen(DatagramProtocol()))
        assert open_descriptors() <= before
    [refusal] = recording.of("operation_refused")
    assert (refusal.operation, refusal.plugin) == ("listen", "gate")
    assert refusal.address == ("::", 0, 0, 0)
    assert refusal.reason == "not here"


class Refusing:
    """Does one thing in ``before_bind``."""

    def __init__(self, act: Callable[[socket.socket], Any]) -> None:
        self.act = act

    @hookimpl
    def dsadapter_before_bind(self, sock: socket.socket) -> Any:
        return self.act(sock)


def refuse(sock: socket.socket) -> None:
    raise PermissionError("not here")


def fail_with(error: BaseException) -> Callable[[socket.socket], None]:
    def act(sock: socket.socket) -> None:
        raise error

    return act


async def later() -> None: ...


class UnspeakableError(Exception):
    """Has neither a text nor a repr."""

    def __str__(self) -> str:
        raise UnspeakableError

    __repr__ = __str__


def adopt(sock: socket.socket) -> None:
    """Look at the socket through another object, which closes the descriptor as it goes."""
    socket.close(sock.fileno())


@pytest.mark.parametrize(
    ("interface", "act", "what"),
    [
        ("::", fail_with(UnspeakableError()), "raised UnspeakableError in"),
        ("::", lambda sock: UnspeakableError(), "returned <UnspeakableError> instead of None"),
        ("::", fail_with(ValueError("a\nb\x1b[31m")), r"raised ValueError: a\nb\x1b[31m in"),
        ("::", fail_with(asyncio.CancelledError()), "raised CancelledError in"),
        ("::", lambda sock: sock.setblocking(True), "changed the timeout of the socket"),
        ("127.0.0.1", lambda sock: sock.settimeout(5), "changed the timeout of the socket"),
        ("::", adopt, "closed the socket"),
        ("127.0.0.1", adopt, "closed the socket"),
        ("127.0.0.1", lambda sock: sock.detach() and None, "closed the socket"),
        ("::", lambda sock: {}["absent"], "raised KeyError: 'absent'"),
        ("::", lambda sock: int("http"), "raised ValueError: invalid literal"),
        ("::", fail_with(PermissionError(1, "no capability")), "raised PermissionError: [Errno 1]"),
        ("::", fail_with(PermissionError()), "raised PermissionError in"),
        ("::", lambda sock: "yes", "returned 'yes' instead of None"),
        ("::", lambda sock: later(), "returned a coroutine, which nobody awaits, instead of None"),
        ("::", lambda sock: sock.close(), "closed the socket"),
        ("::", lambda sock: sock.setsockopt(*V6ONLY, 1), "changed IPV6_V6ONLY"),
        ("::1", lambda sock: sock.setsockopt(*V6ONLY, 0), "changed IPV6_V6ONLY"),
    ],
)
def test_a_check_that_is_broken_opens_nothing(
    reactor: Reactor, interface: str, act: Callable[[socket.socket], Any], what: str
) -> None:
    stop(reactor, listen(reactor))
    before = open_descriptors()
    with registered(Refusing(act), "gate"), registered(RecordingPlugin()) as recording:
        deferred = DualStackServerEndpoint(reactor, 0, interface=interface).listen(
            RecordingFactory()
        )
        assert deferred.called
        with pytest.raises(CannotListenError) as caught:
            reactor.result_of(deferred)
    assert f"plugin 'gate' is broken: it {what}" in str(caught.value)
    assert " in dsadapter_before_bind, so nothing opens; fix or update it" in str(caught.value)
    assert "DSADAPTER_BLOCK_PLUGINS=gate" in str(caught.value)
    assert "listener_opened" not in names(recording)
    [refusal] = recording.of("operation_refused")
    assert (refusal.operation, refusal.plugin) == ("listen", "gate")
    assert refusal.address == ((interface, 0, 0, 0) if ":" in interface else (interface, 0))
    if "sock.detach()" not in inspect.getsource(act):
        del caught
        assert open_descriptors() <= before


def test_a_refusal_is_one_line_and_not_longer_than_a_log_takes(reactor: Reactor) -> None:
    reason = "no\r\nFAKE LINE\x1b[2J" + "x" * 100_000
    with (
        registered(Refusing(fail_with(PermissionError(reason))), "gate"),
        registered(RecordingPlugin()) as recording,
        pytest.raises(CannotListenError) as caught,
    ):
        reactor.result_of(DualStackServerEndpoint(reactor, 0).listen(RecordingFactory()))
    [refusal] = recording.of("operation_refused")
    for text in (str(caught.value), refusal.reason):
        assert r"no\r\nFAKE LINE\x1b[2Jxxx" in text
        assert text.isprintable()
        assert len(text) < 1000


class NoLoopback:
    """A check as plugin authors write it."""

    @hookimpl
    def dsadapter_before_bind(self, policy: Any) -> None:
        if policy.host in ("::1", "127.0.0.1"):
            raise PermissionError(f"{policy} is loopback")


@pytest.mark.parametrize(("interface", "shown"), [*LOOPBACK, ("localhost", "::1")])
@pytest.mark.parametrize("way", ["stream", "string", "datagram", "adopted"])
def test_no_spelling_of_an_address_passes_a_check(
    reactor: Reactor, way: str, interface: str, shown: str
) -> None:
    foreign = ForeignReactor()
    escaped = interface.replace(":", r"\:")
    before = open_descriptors()
    with registered(NoLoopback(), "gate"), registered(RecordingPlugin()) as recording:
        if way == "datagram" and interface != "localhost":
            listening = DualStackDatagramEndpoint(reactor, 0, interface=interface).listen(
                DatagramProtocol()
            )
        elif way == "string":
            endpoint = serverFromString(reactor, f"dualstack:0:interface={escaped}")
            listening = endpoint.listen(RecordingFactory())
        else:
            runs_on = foreign if way == "adopted" else reactor
            endpoint = DualStackServerEndpoint(runs_on, 0, interface=interface)
            listening = endpoint.listen(RecordingFactory())
        with pytest.raises(CannotListenError, match=re.escape(f"{shown}")) as caught:
            reactor.result_of(listening)
    assert "plugin 'gate'" in str(caught.value)
    del caught
    [refusal] = recording.of("operation_refused")
    assert refusal.address == ((shown, 0, 0, 0) if ":" in shown else (shown, 0))
    assert open_descriptors() <= before
    foreign.close()


def test_a_check_may_set_options(reactor: Reactor) -> None:
    low_delay = 0x10

    def mark(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, low_delay)

    with registered(Refusing(mark)):
        port = listen(reactor)
    assert port.socket.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == low_delay
    assert port.socket.getsockopt(*V6ONLY) == 0
    stop(reactor, port)


def test_a_connection_without_a_protocol_is_a_refusal(reactor: Reactor) -> None:
    class Closed(Factory):
        noisy = False

        def buildProtocol(self, addr: Any) -> None:
            return None

    with registered(RecordingPlugin()) as recording:
        port = listen(reactor, factory=Closed())
        with socket.create_connection(("127.0.0.1", port.getHost().port)) as client:
            reactor.until(lambda: recording.of("operation_refused"))
            address = client.getsockname()
        stop(reactor, port)
    [refusal] = recording.of("operation_refused")
    assert (refusal.operation, refusal.address, refusal.plugin) == ("accept", address, None)
    assert "connection_made" not in names(recording)


MISSING = """
import os

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import DatagramProtocol, Factory

from dsadapter.errors import PluginError
from dsadapter.frameworks.twisted import (
    DualStackClientEndpoint,
    DualStackDatagramEndpoint,
    DualStackServerEndpoint,
)
from dsadapter.testing import RecordingPlugin, registered

def fails(deferred):
    deferred.addCallbacks(print, lambda failure: said(failure.value))

def said(error):
    assert "plugin 'guard' is required and not registered" in str(error), error

before = os.listdir("/proc/self/fd")
fails(DualStackServerEndpoint(reactor, 0).listen(Factory()))
fails(DualStackDatagramEndpoint(reactor, 0).listen(DatagramProtocol()))
fails(DualStackClientEndpoint(reactor, "127.0.0.1", 9).connect(Factory()))
try:
    serverFromString(reactor, "dualstack:0")
except PluginError as error:
    said(error)
assert os.listdir("/proc/self/fd") == before
with registered(RecordingPlugin(), "guard"):
    DualStackServerEndpoint(reactor, 0).listen(Factory()).addCallback(lambda port: print(port.mode))
"""


@pytest.mark.not_on_windows("counts descriptors in /proc")
def test_nothing_opens_while_a_required_plugin_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MISSING],
        env=clean_environment(DSADAPTER_REQUIRE_PLUGINS="guard"),
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("dual-stack\n", "")


def calls_of_a_connection(reactor: Reactor) -> Counter[str]:
    """Every call, Python's and C's, from a connection in the backlog to its loss."""
    counted: Counter[str] = Counter()

    def profile(frame: FrameType, event: str, called: Any) -> None:
        if event == "call":
            file = frame.f_code.co_filename.replace("\\", "/")
            counted[f"{file}:{frame.f_code.co_qualname}"] += 1
        elif event == "c_call":
            counted[called.__qualname__] += 1

    port = listen(reactor)
    close(reactor, port, connect(reactor, port, "127.0.0.1"))
    client = socket.create_connection(("127.0.0.1", port.getHost().port))
    done = Failure(ConnectionDone())
    sys.setprofile(profile)
    try:
        port.doRead()
        transport = port.factory.made[-1].transport  # type: ignore[union-attr]
        transport.connectionLost(done)
    finally:
        sys.setprofile(None)
    client.close()
    stop(reactor, port)
    del counted["setprofile"]
    return counted


def of_plugins(calls: Counter[str]) -> list[str]:
    parts = ("pluggy", "dsadapter/hooks/", "dsadapter/records.py", "dsadapter/listener.py")
    return [call for call in calls if any(part in call for part in parts)]


def test_without_plugins_a_connection_makes_not_one_call_for_them(reactor: Reactor) -> None:
    assert of_plugins(calls_of_a_connection(reactor)) == []


def test_with_a_plugin_the_count_shows_it(reactor: Reactor) -> None:
    with registered(RecordingPlugin()):
        calls = of_plugins(calls_of_a_connection(reactor))
    assert [call for call in calls if "dsadapter/hooks/" in call]
    # pluggy has no part in it even then.
    assert not [call for call in calls if "pluggy" in call]
