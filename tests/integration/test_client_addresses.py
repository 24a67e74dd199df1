"""The rows C1 to C6 of what a connecting socket can leak or get wrong, each beside Twisted's own.

C2, which takes a machine of its own, is in ``tests/system/test_client_machines.py``.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from support.listeners import RecordingFactory, stop
from support.reactors import Reactor
from support.resolvers import Hosts
from support.windows import nothing_is_mapped
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.protocol import Factory, Protocol

from dsadapter.frameworks.twisted import DualStackClientEndpoint, DualStackServerEndpoint

MAPPED = "::ffff:127.0.0.1"


class Built(Factory):
    """Remembers what its protocols were built with."""

    noisy = False

    def __init__(self) -> None:
        self.addresses: list[Any] = []

    def buildProtocol(self, addr: Any) -> Protocol:
        self.addresses.append(addr)
        return Protocol()


@pytest.fixture
def number(reactor: Reactor) -> Iterator[int]:
    """The port of a server on both families."""
    port = reactor.result_of(DualStackServerEndpoint(reactor, 0).listen(RecordingFactory()))
    yield port.getHost().port
    stop(reactor, port)
    for reader in [*reactor.getReaders(), *reactor.getWriters()]:
        if hasattr(reader, "abortConnection"):
            reader.abortConnection()
    reactor.iterate(0)


def connected(reactor: Reactor, endpoint: Any) -> tuple[Any, Any]:
    """The transport, and what its protocol was built with."""
    factory = Built()
    transport = reactor.result_of(endpoint.connect(factory)).transport
    [built_with] = factory.addresses
    return transport, built_with


def what_fails(reactor: Reactor, endpoint: Any) -> type[Exception] | None:
    """What connecting raises. Twisted's own endpoint leaves its socket open where it can't bind."""
    kind = None
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        try:
            connected(reactor, endpoint)
        except Exception as raised:
            kind = type(raised)
        gc.collect()
    return kind


def ours(reactor: Reactor, number: int, **options: Any) -> Any:
    return DualStackClientEndpoint(reactor, MAPPED, number, **options)


def twisteds(reactor: Reactor, number: int, **options: Any) -> Any:
    return TCP6ClientEndpoint(reactor, MAPPED, number, **options)


def shown(transport: Any) -> list[str]:
    peer, host = transport.getPeer(), transport.getHost()
    return [peer.host, host.host, transport.realAddress[0], repr(transport)]


@nothing_is_mapped
def test_C1_a_mapped_host_is_IPv4_wherever_the_transport_shows_it(
    reactor: Reactor, number: int
) -> None:
    transport, _ = connected(reactor, ours(reactor, number))
    assert shown(transport)[:3] == ["127.0.0.1"] * 3
    assert transport.getPeer() == IPv4Address("TCP", "127.0.0.1", number)
    assert "ffff" not in repr(transport)
    leaking, _ = connected(reactor, twisteds(reactor, number))
    assert all("::ffff:127.0.0.1" in text for text in shown(leaking))


@pytest.mark.parametrize("bind", ["127.0.0.2", ("127.0.0.2", 0)])
def test_C3_a_mapped_host_from_an_IPv4_bindAddress(
    reactor: Reactor, number: int, bind: Any
) -> None:
    transport, _ = connected(reactor, ours(reactor, number, bindAddress=bind))
    assert transport.getHost().host == "127.0.0.2"
    if isinstance(bind, tuple):
        failing = twisteds(reactor, number, bindAddress=bind)
        assert what_fails(reactor, failing) is error.ConnectBindError


@pytest.mark.parametrize("bind", ["::ffff:127.0.0.2", ("::ffff:127.0.0.2", 0)])
def test_C4_an_IPv4_host_from_a_mapped_bindAddress(
    reactor: Reactor, number: int, bind: Any
) -> None:
    endpoint = DualStackClientEndpoint(reactor, "127.0.0.1", number, bindAddress=bind)
    transport, _ = connected(reactor, endpoint)
    assert transport.getHost().host == "127.0.0.2"
    failing = TCP4ClientEndpoint(reactor, "127.0.0.1", number, bindAddress=("::ffff:127.0.0.2", 0))
    assert what_fails(reactor, failing) is TypeError


@nothing_is_mapped
def test_C5_what_a_connector_tells_of_its_destination(reactor: Reactor, number: int) -> None:
    transport, _ = connected(reactor, ours(reactor, number))
    assert transport.connector.getDestination() == IPv4Address("TCP", "127.0.0.1", number)
    assert "127.0.0.1" in repr(transport.connector)
    assert "ffff" not in repr(transport.connector)
    leaking, _ = connected(reactor, twisteds(reactor, number))
    assert leaking.connector.getDestination().host == MAPPED


def test_C5_what_a_cancelled_connection_tells_of_its_destination(
    reactor: Reactor, number: int
) -> None:
    for endpoint, host in ((ours, "127.0.0.1"), (twisteds, MAPPED)):
        failures: list[Any] = []
        connecting = endpoint(reactor, number).connect(Built())
        connecting.addErrback(failures.append)
        connecting.cancel()
        reactor.until(lambda got=failures: got)
        [failure] = failures
        assert failure.check(error.ConnectingCancelledError)
        assert failure.value.address.host == host


def test_C5_what_a_failed_lookup_tells_of_its_name(reactor: Reactor) -> None:
    reactor.installNameResolver(Hosts({}))
    with pytest.raises(error.DNSLookupError, match=r"nowhere\.invalid"):
        connected(reactor, DualStackClientEndpoint(reactor, "nowhere.invalid", 80))


@nothing_is_mapped
def test_C6_the_address_that_the_protocol_is_built_with(reactor: Reactor, number: int) -> None:
    _, built_with = connected(reactor, ours(reactor, number))
    assert built_with == IPv4Address("TCP", "127.0.0.1", number)
    _, leaking = connected(reactor, twisteds(reactor, number))
    assert leaking.host == MAPPED
