"""What plugins are told of link-local addresses, which mean nothing without their zone."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from support.datagrams import Recorder, listen
from support.foreign_reactor import ForeignReactor
from support.listeners import RecordingFactory, stop
from support.namespaces import Namespace, connect_namespaces, namespace, needs_root
from support.reactors import Reactor

from dsadapter.frameworks.twisted import DualStackClientEndpoint, DualStackServerEndpoint
from dsadapter.testing import RecordingPlugin, registered

pytestmark = needs_root

SERVER, CLIENT = "fe80::7", "fe80::8"
ZONE = "wire"
INTERFACES = pytest.mark.parametrize("interface", ["::", f"{SERVER}%{ZONE}"])


@pytest.fixture
def wired() -> Iterator[tuple[Namespace, Namespace]]:
    with namespace() as server, namespace() as client:
        connect_namespaces(server, client, ZONE)
        for place, address in ((server, SERVER), (client, CLIENT)):
            place.add_addresses(ZONE, address)
        yield server, client


@pytest.fixture(params=["epoll", "foreign"])
def runtime(request: pytest.FixtureRequest) -> Iterator[Any]:
    made: Any = ForeignReactor() if request.param == "foreign" else Reactor()
    yield made
    made.close()


@contextlib.contextmanager
def connected(runtime: Any, wired: tuple[Namespace, Namespace], interface: str) -> Iterator[None]:
    """A listening port has a link-local client."""
    server, client = wired
    factory = RecordingFactory()
    with server.entered():
        endpoint = DualStackServerEndpoint(runtime, 0, interface=interface)
        port = runtime.result_of(endpoint.listen(factory))
        with client.entered():
            scope = socket.if_nametoindex(ZONE)
            peer = socket.create_connection((f"{SERVER}%{scope}", port.getHost().port))
        with peer:
            runtime.until(lambda: factory.made)
            transport = factory.made[0].transport
            yield
            transport.abortConnection()
            runtime.until(lambda: factory.lost)
        stop(runtime, port)


@INTERFACES
def test_a_connection_keeps_its_zones(
    runtime: Any, wired: tuple[Namespace, Namespace], interface: str
) -> None:
    with registered(RecordingPlugin()) as recording:
        with connected(runtime, wired, interface) as _:
            [made] = recording.of("connection_made")
            assert made.peer[0] == f"{CLIENT}%{ZONE}"
            assert made.local[0] == f"{SERVER}%{ZONE}"


def test_a_listener_keeps_its_zone(runtime: Any, wired: tuple[Namespace, Namespace]) -> None:
    with registered(RecordingPlugin()) as recording:
        with connected(runtime, wired, f"{SERVER}%{ZONE}") as _:
            [opened] = recording.of("listener_opened")
            assert opened.addresses()[0][0] == f"{SERVER}%{ZONE}"


def test_a_datagram_port_keeps_its_zone(
    reactor: Reactor, wired: tuple[Namespace, Namespace]
) -> None:
    with wired[0].entered():
        port = listen(reactor, Recorder(), f"{SERVER}%{ZONE}")
        stop(reactor, port)
    assert port.addresses()[0][0] == f"{SERVER}%{ZONE}"


def test_an_attempt_keeps_its_zone(reactor: Reactor, wired: tuple[Namespace, Namespace]) -> None:
    server, client = wired
    with server.entered():
        listener = socket.create_server(("::", 0), family=socket.AF_INET6)
    with listener, client.entered(), registered(RecordingPlugin()) as recording:
        endpoint = DualStackClientEndpoint(
            reactor, f"{SERVER}%{ZONE}", listener.getsockname()[1], bindAddress=f"{CLIENT}%{ZONE}"
        )
        transport = reactor.result_of(endpoint.connect(RecordingFactory())).transport
        [attempt] = recording.of("before_connect")
        assert attempt.destination[0] == f"{SERVER}%{ZONE}"
        assert attempt.bind_address == (f"{CLIENT}%{ZONE}", 0)
        assert transport.getPeer().host == f"{SERVER}%{ZONE}"
        assert transport.getHost().host == f"{CLIENT}%{ZONE}"
        transport.abortConnection()
        reactor.until(lambda: not transport.connected)
