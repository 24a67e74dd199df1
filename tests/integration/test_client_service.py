"""Twisted's ``ClientService`` over the client endpoint."""

from __future__ import annotations

from typing import Any

import pytest
from support.listeners import Recorder, RecordingFactory, stop
from support.reactors import Reactor, open_descriptors
from twisted.application.internet import ClientService
from twisted.internet.protocol import Factory

from dsadapter.frameworks.twisted import DualStackClientEndpoint, DualStackServerEndpoint

HOSTS = ["127.0.0.1", "::1", "::ffff:127.0.0.1"]


def listen(reactor: Reactor, port: int, factory: RecordingFactory) -> Any:
    return reactor.result_of(DualStackServerEndpoint(reactor, port).listen(factory))


class Clients(Factory):
    """Remembers the addresses that its protocols were built with."""

    noisy = False

    def __init__(self) -> None:
        self.addresses: list[str] = []

    def buildProtocol(self, addr: Any) -> Recorder:
        self.addresses.append(addr.host)
        protocol = Recorder()
        protocol.factory = RecordingFactory()
        return protocol


@pytest.mark.parametrize("host", HOSTS)
def test_it_connects_again_when_the_server_has_been_restarted(reactor: Reactor, host: str) -> None:
    seen = RecordingFactory()
    port = listen(reactor, 0, seen)
    number = port.getHost().port
    before = open_descriptors()
    clients = Clients()
    retries: list[int] = []

    def at_once(attempt: int) -> float:
        retries.append(attempt)
        return 0.0

    endpoint = DualStackClientEndpoint(reactor, host, number)
    service = ClientService(endpoint, clients, retryPolicy=at_once, clock=reactor)
    service.startService()
    reactor.result_of(service.whenConnected())
    reactor.until(lambda: seen.made)

    stop(reactor, port)
    seen.made[0].transport.abortConnection()
    # Refused while nobody listens, and tried again.
    reactor.until(lambda: len(retries) > 2)
    again = RecordingFactory()
    port = listen(reactor, number, again)
    protocol = reactor.result_of(service.whenConnected())
    reactor.until(lambda: again.made)
    canonical = host.removeprefix("::ffff:")
    assert protocol.transport.getPeer().host == canonical
    assert again.made[0].transport.getPeer().host == canonical
    assert clients.addresses == [canonical, canonical]

    reactor.result_of(service.stopService())
    reactor.until(lambda: again.lost)
    assert again.started == 1
    assert len(open_descriptors()) <= len(before)
    stop(reactor, port)


def test_stopping_while_it_connects_leaves_nothing(reactor: Reactor) -> None:
    port = listen(reactor, 0, RecordingFactory())
    number = port.getHost().port
    stop(reactor, port)
    before = open_descriptors()
    endpoint = DualStackClientEndpoint(reactor, "127.0.0.1", number)
    service = ClientService(endpoint, Clients(), retryPolicy=lambda _: 60.0, clock=reactor)
    service.startService()
    reactor.iterate(0)
    reactor.result_of(service.stopService())
    assert open_descriptors() <= before
    assert reactor.getDelayedCalls() == []
