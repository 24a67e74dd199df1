"""What users read when a plugin refuses: that it did, and why."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.datagrams import Recorder
from support.foreign_reactor import ForeignReactor
from support.listeners import RecordingFactory
from support.reactors import Reactor
from support.windows import LOOPBACK_NAME
from twisted.internet import error
from twisted.internet.endpoints import clientFromString, serverFromString

from dsadapter import hookimpl
from dsadapter.frameworks.twisted import (
    DualStackClientEndpoint,
    DualStackDatagramEndpoint,
    DualStackServerEndpoint,
)
from dsadapter.testing import RecordingPlugin, registered

WHY = "127.0.0.1 is not a public address"


class Guard:
    """Refuses everything."""

    @hookimpl
    def dsadapter_before_bind(self, sock: socket.socket) -> None:
        raise PermissionError(WHY)

    @hookimpl
    def dsadapter_before_connect(self, sock: socket.socket) -> None:
        raise PermissionError(WHY)


@pytest.fixture
def foreign() -> Iterator[ForeignReactor]:
    reactor = ForeignReactor()
    yield reactor
    reactor.close()


def listening(reactor: Any, interface: str) -> Any:
    return DualStackServerEndpoint(reactor, 0, interface=interface).listen(RecordingFactory())


def listening_by_string(reactor: Any, interface: str) -> Any:
    endpoint = serverFromString(reactor, f"dualstack:0:interface={interface}")
    return endpoint.listen(RecordingFactory())


def exchanging_datagrams(reactor: Any, interface: str) -> Any:
    return DualStackDatagramEndpoint(reactor, 0, interface=interface).listen(Recorder())


def connecting(reactor: Any, host: str) -> Any:
    return DualStackClientEndpoint(reactor, host, 9).connect(RecordingFactory())


def connecting_by_string(reactor: Any, host: str) -> Any:
    return clientFromString(reactor, f"dualstack:{host}:9").connect(RecordingFactory())


CASES = [
    (listening, "::"),
    (listening, "localhost"),
    (listening, "127.0.0.1"),
    (listening_by_string, "127.0.0.1"),
    (exchanging_datagrams, "::"),
    (exchanging_datagrams, "127.0.0.1"),
    (connecting, "127.0.0.1"),
    (connecting_by_string, "127.0.0.1"),
]
Act = Callable[[Any, str], Any]


def reads_as_a_refusal(text: str) -> None:
    assert f"plugin 'egress' refused: {WHY}" in text
    # Nobody is told to switch off a guard that does its work.
    assert "DSADAPTER_BLOCK_PLUGINS" not in text


def refusal(reactor: Any, act: Act, address: str) -> str:
    with (
        registered(Guard(), "egress"),
        pytest.raises((error.CannotListenError, error.ConnectError)) as caught,
    ):
        reactor.result_of(act(reactor, address))
    return str(caught.value)


@pytest.mark.parametrize(("act", "address"), CASES)
def test_an_error_reads_as_a_refusal(reactor: Reactor, act: Act, address: str) -> None:
    reads_as_a_refusal(refusal(reactor, act, address))


@pytest.mark.parametrize("interface", ["::", "localhost"])
def test_so_it_does_on_a_reactor_with_its_own_ports(
    foreign: ForeignReactor, interface: str
) -> None:
    reads_as_a_refusal(refusal(foreign, listening, interface))


WHERE: dict[str, tuple[Any, ...]] = {
    "::": ("::", 0, 0, 0),
    "127.0.0.1": ("127.0.0.1", 0),
    f"fe80::1%{LOOPBACK_NAME}": (f"fe80::1%{LOOPBACK_NAME}", 0, 0, 1),
    "fe80::1%absent": ("fe80::1%absent", 0, 0, 0),
}


@pytest.mark.parametrize(
    ("act", "interface", "address"),
    [
        (listening, "localhost", ("::1", 0, 0, 0)),
        *((act, *where) for act in (listening, exchanging_datagrams) for where in WHERE.items()),
    ],
)
def test_observers_are_told_where(
    reactor: Reactor, act: Act, interface: str, address: tuple[Any, ...]
) -> None:
    with registered(RecordingPlugin()) as recording:
        refusal(reactor, act, interface)
    [record] = recording.of("operation_refused")
    assert (record.operation, record.address) == ("listen", address)


@pytest.mark.parametrize(("act", "address"), CASES)
def test_observers_are_told_the_same(reactor: Reactor, act: Act, address: str) -> None:
    with registered(RecordingPlugin()) as recording:
        refusal(reactor, act, address)
    [record] = recording.of("operation_refused")
    assert (record.plugin, record.reason) == ("egress", WHY)
