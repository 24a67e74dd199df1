"""What uses an interface that has gone meanwhile ends as it is told to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.listeners import RecordingFactory
from support.namespaces import Namespace, namespace, needs_root
from support.reactors import Reactor, open_descriptors
from support.resolvers import Scripted
from twisted.internet import error
from twisted.internet.address import IPv6Address
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure

from dsadapter.frameworks.twisted import (
    DualStackClientEndpoint,
    DualStackDatagramEndpoint,
    DualStackServerEndpoint,
)
from dsadapter.testing import RecordingPlugin, registered

pytestmark = needs_root

INTERFACE = "dum0"
OWN, SILENT = f"fe80::1%{INTERFACE}", f"fe80::9%{INTERFACE}"


@pytest.fixture
def place() -> Iterator[Namespace]:
    with namespace() as made:
        made.run("ip", "link", "add", INTERFACE, "type", "veth", "peer", "name", "silent")
        for end in (INTERFACE, "silent"):
            made.run("ip", "link", "set", end, "up")
        made.add_addresses(INTERFACE, "fe80::1", "fd00:7::1")
        with made.entered():
            yield made


def take_away(place: Namespace) -> None:
    place.run("ip", "link", "delete", INTERFACE)


class Connecting:
    """A connect to an address beyond the interface, under way."""

    def __init__(self, reactor: Reactor, name: bool, **options: Any) -> None:
        self.reactor = reactor
        self.factory = RecordingFactory()
        self.before = open_descriptors()
        host, resolver = SILENT, None
        if name:
            host = "name.example"
            resolver = Scripted(IPv6Address("TCP", "fe80::9", 80, scopeID=INTERFACE))
        endpoint = DualStackClientEndpoint(reactor, host, 80, resolver=resolver, **options)
        self.ends: list[Any] = []
        self.deferred = endpoint.connect(self.factory)
        self.deferred.addBoth(self.ends.append)
        reactor.iterate(0)
        reactor.iterate(0)
        assert not self.ends, self.ends
        assert len(open_descriptors() - self.before) == 1

    def failed(self, *kinds: type[Exception]) -> None:
        self.reactor.until(lambda: self.ends)
        [outcome] = self.ends
        assert isinstance(outcome, Failure)
        assert outcome.check(*kinds), outcome
        assert open_descriptors() <= self.before
        assert self.reactor.getDelayedCalls() == []
        assert self.factory.started == 0


@pytest.mark.parametrize("name", [False, True])
def test_a_connect_is_cancelled(place: Namespace, reactor: Reactor, name: bool) -> None:
    connecting = Connecting(reactor, name, timeout=None)
    take_away(place)
    connecting.deferred.cancel()
    connecting.failed(error.ConnectingCancelledError)


@pytest.mark.parametrize("name", [False, True])
def test_a_connect_has_no_more_time(place: Namespace, reactor: Reactor, name: bool) -> None:
    connecting = Connecting(reactor, name, timeout=0.5)
    take_away(place)
    connecting.failed(error.TimeoutError, error.ConnectError)


PORTS: dict[str, Any] = {
    "streams": lambda reactor: DualStackServerEndpoint(reactor, 0, interface=OWN).listen(
        RecordingFactory()
    ),
    "datagrams": lambda reactor: DualStackDatagramEndpoint(reactor, 0, interface=OWN).listen(
        DatagramProtocol()
    ),
}


@pytest.mark.parametrize("name", PORTS)
def test_a_port_stops(place: Namespace, reactor: Reactor, name: str) -> None:
    # What Twisted opens for good.
    reactor.result_of(reactor.result_of(PORTS[name](reactor)).stopListening())
    before = open_descriptors()
    with registered(RecordingPlugin()) as recording:
        port = reactor.result_of(PORTS[name](reactor))
        take_away(place)
        assert repr(port)
        assert port.getHost().host.startswith("fe80::1")
        reactor.result_of(port.stopListening())
        assert recording.of("listener_closed") == [port]
    assert open_descriptors() <= before
