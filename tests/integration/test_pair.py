"""One listening port object on two sockets: ``interface=localhost`` and ``fallback=pair``."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.listeners import RecordingFactory, connects, stop
from support.reactors import Reactor, open_descriptors
from support.windows import WINDOWS
from twisted.internet import tcp
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReadDescriptor
from zope.interface.verify import verifyObject

from dsadapter.errors import NotDualStackError
from dsadapter.frameworks.twisted import DualStackServerEndpoint
from dsadapter.interfaces import IListener
from dsadapter.sockets import binding
from dsadapter.testing import RecordingPlugin, registered

HOSTS = ("127.0.0.1", "::1")
V6ONLY = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


@contextmanager
def without_dual_stack() -> Iterator[None]:
    """As on a system whose IPv6 sockets are always v6-only, such as OpenBSD.

    Only a process can really be made one, for good; ``tests/system/test_fallback_machines.py`` has
    such ones.
    """
    set_v6only = binding.set_v6only

    def refuse(sock: socket.socket, v6only: bool) -> None:
        if not v6only:
            raise NotDualStackError("IPV6_V6ONLY can't be cleared (Invalid argument)")
        set_v6only(sock, v6only)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binding, "set_v6only", refuse)
        yield


def localhost(reactor: Reactor, port: int = 0) -> Any:
    endpoint = DualStackServerEndpoint(reactor, port, interface="localhost")
    return reactor.result_of(endpoint.listen(RecordingFactory()))


def wildcards(reactor: Reactor, port: int = 0) -> Any:
    endpoint = DualStackServerEndpoint(reactor, port, fallback="pair")
    with without_dual_stack():
        return reactor.result_of(endpoint.listen(RecordingFactory()))


PAIRS = pytest.mark.parametrize("listen", [localhost, wildcards])


@PAIRS
def test_both_families_are_served_with_one_port_number(reactor: Reactor, listen: Any) -> None:
    stop(reactor, listen(reactor))
    before = open_descriptors()
    port = listen(reactor)
    assert WINDOWS or len(open_descriptors() - before) == 2
    number = port.getHost().port
    for session, host in enumerate(HOSTS):
        with socket.create_connection((host, number)) as client:
            reactor.until(lambda session=session: len(port.factory.made) > session)
            transport = port.factory.made[-1].transport
            assert type(transport) is tcp.Server
            assert (transport.getPeer().host, transport.getHost().host) == (host, host)
            assert transport.getPeer().port == client.getsockname()[1]
            assert transport.getHost().port == number
            assert transport.sessionno == session
        reactor.until(lambda transport=transport: not transport.connected)
    assert port.sessionno == 2
    stop(reactor, port)
    assert open_descriptors() <= before
    assert not any(connects(host, number) for host in HOSTS)


@PAIRS
def test_it_is_one_listening_port(reactor: Reactor, listen: Any) -> None:
    with registered(RecordingPlugin()) as recording:
        port = listen(reactor)
        assert port.factory.started == 1
        stop(reactor, port)
    for interface in (IListeningPort, IListener, IReadDescriptor):
        assert verifyObject(interface, port)
    assert port.factory.started == 0
    assert port.mode == "pair"
    assert len(recording.of("before_bind")) >= 2
    assert recording.of("listener_opened") == recording.of("listener_closed") == [port]


def test_localhost_is_the_two_loopback_addresses(reactor: Reactor) -> None:
    port = localhost(reactor)
    number = port.getHost().port
    assert port.getHost() == IPv4Address("TCP", "127.0.0.1", number)
    assert port.addresses() == (("127.0.0.1", number), ("::1", number, 0, 0))
    assert not connects("127.0.0.2", number)
    stop(reactor, port)


def test_a_pair_in_place_of_dual_stack_is_the_two_wildcards(reactor: Reactor) -> None:
    port = wildcards(reactor)
    number = port.getHost().port
    assert port.getHost() == IPv4Address("TCP", "0.0.0.0", number)
    assert port.addresses() == (("0.0.0.0", number), ("::", number, 0, 0))
    stop(reactor, port)


def test_no_connection_of_a_pair_is_translated(reactor: Reactor) -> None:
    with registered(RecordingPlugin()) as recording:
        port = localhost(reactor)
        for host in HOSTS:
            assert connects(host, port.getHost().port)
        reactor.until(lambda: len(recording.of("connection_lost")) == 2)
        stop(reactor, port)
    made = recording.of("connection_made")
    # Which of two ready sockets a reactor asks first is its own business.
    assert sorted((c.family, c.translated, c.local[0]) for c in made) == [
        ("ipv4", False, "127.0.0.1"),
        ("ipv6", False, "::1"),
    ]


@PAIRS
def test_it_can_be_stopped_and_started_again(reactor: Reactor, listen: Any) -> None:
    port = listen(reactor)
    stop(reactor, port)
    with without_dual_stack():
        port.startListening()
    assert all(connects(host, port.getHost().port) for host in HOSTS)
    stop(reactor, port)


@PAIRS
@pytest.mark.parametrize(
    ("pause", "resume"),
    [("stopReading", "startReading"), ("pauseProducing", "resumeProducing")],
)
def test_pausing_is_for_both(reactor: Reactor, listen: Any, pause: str, resume: str) -> None:
    port = listen(reactor)
    getattr(port, pause)()
    clients = [socket.create_connection((host, port.getHost().port)) for host in HOSTS]
    for _ in range(3):
        reactor.iterate(0)
    assert port.factory.made == []
    getattr(port, resume)()
    reactor.until(lambda: len(port.factory.made) == 2)
    for client in clients:
        client.close()
    reactor.until(lambda: not any(made.transport.connected for made in port.factory.made))
    stop(reactor, port)


def test_a_reactor_that_ends_closes_both_once(reactor: Reactor) -> None:
    with registered(RecordingPlugin()) as recording:
        port = localhost(reactor)
        number = port.getHost().port
        reactor.disconnectAll()
    assert recording.of("listener_closed") == [port]
    assert not any(connects(host, number) for host in HOSTS)
    assert port.factory.started == 0


@pytest.mark.parametrize(
    ("family", "host", "name"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1:{}"),
        (socket.AF_INET6, "::1", r"\[::1\]:{}"),
    ],
)
def test_a_port_that_is_held_in_one_family_opens_nothing(
    reactor: Reactor, family: socket.AddressFamily, host: str, name: str
) -> None:
    with socket.create_server((host, 0), family=family) as holder:
        number = holder.getsockname()[1]
        before = open_descriptors()
        with pytest.raises(CannotListenError, match=f"{name.format(number)} is held by another"):
            localhost(reactor, number)
        assert open_descriptors() <= before


def test_a_free_port_is_looked_for_until_both_families_have_it(reactor: Reactor) -> None:
    taken: list[socket.socket] = []
    bind = binding.bind_socket

    def steal(sock: socket.socket, policy: Any) -> None:
        # Twice, somebody is faster than the second socket.
        if policy.mode == "ipv4" and len(taken) < 2:
            taken.append(socket.create_server((policy.host, policy.port)))
        bind(sock, policy)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binding, "bind_socket", steal)
        port = localhost(reactor)
    assert len(taken) == 2
    assert port.getHost().port not in [held.getsockname()[1] for held in taken]
    for held in taken:
        held.close()
    stop(reactor, port)


@pytest.mark.not_on_windows("limits descriptors by setrlimit")
def test_every_accept_of_a_pair_survives_the_loss_of_descriptors(reactor: Reactor) -> None:
    port = localhost(reactor)
    opened = []
    number = port.getHost().port
    clients = [socket.create_connection((host, number)) for host in HOSTS]
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, open_descriptors()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    try:
        while True:
            try:
                opened.append(socket.socket())
            except OSError:
                break
        for _ in range(3):
            reactor.iterate(0.01)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for held in opened:
            held.close()
    # Without a descriptor for them they are closed, and the port goes on.
    for client in clients:
        assert client.recv(1) == b""
        client.close()
    assert all(connects(host, number) for host in HOSTS)
    reactor.until(lambda: len(port.factory.made) == 2)
    stop(reactor, port)
