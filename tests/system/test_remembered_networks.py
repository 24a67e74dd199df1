"""What is remembered of a name holds for the state that the network was in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.listeners import RecordingFactory
from support.namespaces import Namespace, connect_namespaces, namespace, needs_root
from support.reactors import Reactor
from support.resolvers import Scripted, Tried
from twisted.internet.address import IPv4Address, IPv6Address

from dsadapter.frameworks.twisted import DualStackClientEndpoint, DualStackServerEndpoint
from dsadapter.happy_eyeballs.outcomes import ROUTE_LIFETIME
from dsadapter.testing import registered

pytestmark = needs_root

PORT = 8080
IPV4, IPV6 = "10.1.0.2", "fd00:1::2"


@pytest.fixture
def client(reactor: Reactor) -> Client:
    return Client(reactor)


class Client:
    """Connects to a name of an IPv6 address and an IPv4 one, by a clock that a test can put on."""

    def __init__(self, reactor: Reactor) -> None:
        self.tried = Tried()
        self._reactor = reactor
        self._ahead = 0.0
        reactor.installNameResolver(
            Scripted(IPv6Address("TCP", IPV6, PORT), IPv4Address("TCP", IPV4, PORT))
        )
        seconds = reactor.seconds
        reactor.seconds = lambda: seconds() + self._ahead  # type: ignore[method-assign]

    def attempts(self) -> list[str]:
        """What one connect tries until it succeeds."""
        reactor = self._reactor
        endpoint = DualStackClientEndpoint(reactor, "name.example", PORT)
        protocol = reactor.result_of(endpoint.connect(RecordingFactory()))
        protocol.transport.abortConnection()
        reactor.until(lambda: protocol.factory.lost)
        return self.tried.since()

    def later(self) -> None:
        """Routes are asked for anew."""
        self._ahead += ROUTE_LIFETIME


@contextmanager
def network(client: Client) -> Iterator[tuple[Namespace, Namespace]]:
    with namespace() as near, namespace() as far, registered(client.tried, "tried"):
        connect_namespaces(near, far)
        far.add_addresses("wire", IPV4, IPV6)
        near.add_addresses("wire", "10.1.0.1", "fd00:1::1")
        yield near, far


def listen(reactor: Reactor, far: Namespace, address: str) -> Any:
    with far.entered():
        endpoint = DualStackServerEndpoint(reactor, PORT, interface=address)
        return reactor.result_of(endpoint.listen(RecordingFactory()))


def test_another_source_address_is_another_network(reactor: Reactor, client: Client) -> None:
    with network(client) as (near, far):
        listener = listen(reactor, far, IPV4)
        with near.entered():
            assert client.attempts() == [IPV6, IPV4]
            assert client.attempts() == [IPV4]
            for removed, added in (
                ("fd00:1::1/64", "fd00:1::11"),
                ("10.1.0.1/24", "10.1.0.11"),
            ):
                near.run("ip", "address", "delete", removed, "dev", "wire")
                near.add_addresses("wire", added)
                client.later()
                assert client.attempts() == [IPV6, IPV4]
                assert client.attempts() == [IPV4]
            # Without a way there it fails at once, and that is a state as well.
            near.run("ip", "-6", "address", "flush", "dev", "wire", "scope", "global")
            client.later()
            assert client.attempts() == [IPV6, IPV4]
            assert client.attempts() == [IPV4]
            # Back where it has been before.
            near.add_addresses("wire", "fd00:1::11")
            client.later()
            assert client.attempts() == [IPV4]
        reactor.result_of(listener.stopListening())


def test_a_network_that_changes_within_the_second_is_noticed_after_it(
    reactor: Reactor, client: Client
) -> None:
    with network(client) as (near, far):
        listener = listen(reactor, far, IPV4)
        with near.entered():
            assert client.attempts() == [IPV6, IPV4]
            near.run("ip", "address", "delete", "10.1.0.1/24", "dev", "wire")
            near.add_addresses("wire", "10.1.0.11")
            # By the new address; only the order is that of before.
            assert client.attempts() == [IPV4]
            client.later()
            assert client.attempts() == [IPV6, IPV4]
        reactor.result_of(listener.stopListening())


def test_a_way_to_the_winner_that_goes_within_the_second_is_no_obstacle(
    reactor: Reactor, client: Client
) -> None:
    with network(client) as (near, far):
        listener = listen(reactor, far, IPV4)
        with near.entered():
            assert client.attempts() == [IPV6, IPV4]
            reactor.result_of(listener.stopListening())
            listener = listen(reactor, far, IPV6)
            near.run("ip", "address", "flush", "dev", "wire", "to", "10.1.0.0/24")
            assert client.attempts() == [IPV4, IPV6]
            assert client.attempts() == [IPV6]
        reactor.result_of(listener.stopListening())


@pytest.mark.parametrize("seconds", ["the same second", "a later one"])
def test_a_winner_that_has_died_is_passed_and_forgotten(
    reactor: Reactor, client: Client, seconds: str
) -> None:
    with network(client) as (near, far):
        listener = listen(reactor, far, IPV4)
        with near.entered():
            assert client.attempts() == [IPV6, IPV4]
            assert client.attempts() == [IPV4]
            reactor.result_of(listener.stopListening())
            listener = listen(reactor, far, IPV6)
            if seconds == "a later one":
                client.later()
            assert client.attempts() == [IPV4, IPV6]
            # The first of the name has won, of which there is nothing to remember.
            assert client.attempts() == [IPV6]
        reactor.result_of(listener.stopListening())
