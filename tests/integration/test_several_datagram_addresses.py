"""Twisted's datagram port of several addresses."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest
from support.datagrams import Echo, Informed, Recorder, counters, listen, peer
from support.namespaces import namespace, needs_root
from support.reactors import Reactor, open_descriptors
from support.windows import WINE, own_udp_address
from twisted.internet.error import CannotListenError, MulticastJoinError
from twisted.internet.interfaces import IListeningPort, IMulticastTransport, IReadDescriptor
from zope.interface.verify import verifyObject

from dsadapter.frameworks.twisted import DualStackDatagramEndpoint
from dsadapter.testing import RecordingPlugin, registered

# Wine binds a UDP socket of one IPv4 address to the whole interface, and answers from its first.
ADDRESSES = ["127.0.0.1", "::1"] if WINE else ["127.0.0.7", "::1", "127.0.0.9"]


def ask(reactor: Reactor, port: Any, host: str) -> bytes:
    """What a client gets that hears this one address alone."""
    with peer("::1" if ":" in host else "127.0.0.1") as client:
        client.connect((host, port.getHost().port))
        client.send(b"x")
        got = len(port.protocol.got)
        reactor.until(lambda: len(port.protocol.got) > got)
        return client.recv(100)


@pytest.mark.parametrize("interface", [ADDRESSES, ",".join(ADDRESSES), "localhost"])
def test_one_port_has_them_all(reactor: Reactor, interface: Any) -> None:
    hosts = ["127.0.0.1", "::1"] if interface == "localhost" else ADDRESSES
    before, readers = open_descriptors(), set(reactor.getReaders())
    with registered(RecordingPlugin()) as recording:
        port = listen(reactor, Echo(), interface)
        number = port.getHost().port
        assert port.mode == "pair"
        assert [a[:2] for a in port.addresses()] == [(each, number) for each in hosts]
        assert verifyObject(IListeningPort, port)
        assert verifyObject(IMulticastTransport, port)
        ours = set(reactor.getReaders()) - readers
        assert len(ours) == len(hosts)
        assert all(verifyObject(IReadDescriptor, each) for each in ours)
        assert [ask(reactor, port, host) for host in hosts] == [b"x"] * len(hosts)
        assert counters(port) == {"received": len(hosts)}
        reactor.result_of(port.stopListening())
    assert len(recording.of("before_bind")) == len(hosts)
    assert len(recording.of("listener_opened")) == len(recording.of("listener_closed")) == 1
    assert set(reactor.getReaders()) == readers
    assert open_descriptors() <= before
    # And once more.
    port.startListening()
    assert [ask(reactor, port, host) for host in hosts] == [b"x"] * len(hosts)
    assert counters(port) == {"received": 2 * len(hosts)}
    reactor.result_of(port.stopListening())


@own_udp_address
def test_two_of_one_family(reactor: Reactor) -> None:
    port = listen(reactor, Echo(), "127.0.0.7,127.0.0.9")
    assert [ask(reactor, port, host) for host in ("127.0.0.7", "127.0.0.9")] == [b"x", b"x"]
    reactor.result_of(port.stopListening())


def test_packet_information_says_which(reactor: Reactor) -> None:
    informed = Informed()
    informed.answer = b"y"
    port = listen(reactor, informed, ADDRESSES)
    for host in ADDRESSES:
        assert ask(reactor, port, host) == b"y"
    assert [info.destination for info in informed.infos] == ADDRESSES
    reactor.result_of(port.stopListening())


def test_reading_stops_and_starts_for_all(reactor: Reactor) -> None:
    port = listen(reactor, Echo(), ADDRESSES)
    port.stopReading()
    with peer("127.0.0.1") as client, peer("::1") as other:
        client.sendto(b"x", (ADDRESSES[0], port.getHost().port))
        other.sendto(b"x", ("::1", port.getHost().port))
        for _ in range(5):
            reactor.iterate(0)
        assert port.protocol.got == []
        port.startReading()
        reactor.until(lambda: len(port.protocol.got) == 2)
    reactor.result_of(port.stopListening())


@pytest.mark.not_on_windows("a datagram socket that is shut down is not readable there")
@pytest.mark.parametrize("which", range(len(ADDRESSES)))
def test_a_port_that_loses_one_of_its_sockets_ends(reactor: Reactor, which: int) -> None:
    before, readers = open_descriptors(), set(reactor.getReaders())
    protocol = Recorder()
    stopped: list[bool] = []
    protocol.stopProtocol = lambda: stopped.append(True)  # type: ignore[method-assign]
    port = listen(reactor, protocol, ADDRESSES)
    for reader in set(reactor.getReaders()) - readers:
        if named(reader.fileno()) == ADDRESSES[which]:
            with socket.socket(fileno=socket.dup(reader.fileno())) as sock:
                # Of one that is not connected it does what it is to, and is an error.
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
    reactor.until(lambda: stopped)
    assert set(reactor.getReaders()) == readers
    assert open_descriptors() <= before
    assert not port.connected


@pytest.mark.parametrize("which", range(len(ADDRESSES)))
def test_a_descriptor_that_somebody_takes_away_leaves_nothing(reactor: Reactor, which: int) -> None:
    before, readers = open_descriptors(), set(reactor.getReaders())
    port = listen(reactor, Recorder(), ADDRESSES)
    [taken] = [
        reader.fileno()
        for reader in set(reactor.getReaders()) - readers
        if named(reader.fileno()) == ADDRESSES[which]
    ]
    socket.close(taken)
    with contextlib.suppress(OSError):
        reactor.result_of(port.stopListening())
    assert set(reactor.getReaders()) == readers
    assert open_descriptors() <= before


def named(descriptor: int) -> str:
    with socket.socket(fileno=socket.dup(descriptor)) as sock:
        return str(sock.getsockname()[0])


def test_a_reactor_that_ends_stops_it_once(reactor: Reactor) -> None:
    protocol = Recorder()
    stopped: list[bool] = []
    protocol.stopProtocol = lambda: stopped.append(True)  # type: ignore[method-assign]
    before = open_descriptors()
    listen(reactor, protocol, ADDRESSES)
    reactor.disconnectAll()
    assert stopped == [True]
    assert open_descriptors() <= before


def test_an_address_that_is_held_leaves_nothing_open(reactor: Reactor) -> None:
    with peer(ADDRESSES[0]) as holder:
        number = holder.getsockname()[1]
        before = open_descriptors()
        endpoint = DualStackDatagramEndpoint(reactor, number, interface=ADDRESSES)
        with pytest.raises(CannotListenError, match=f"{ADDRESSES[0]}:{number} is held"):
            reactor.result_of(endpoint.listen(Recorder()))
        assert open_descriptors() <= before


@needs_root
def test_groups_are_joined_by_a_socket_of_their_family() -> None:
    with namespace() as place:
        place.run("ip", "link", "add", "groups0", "type", "veth", "peer", "name", "far0")
        place.run("ip", "link", "set", "far0", "up")
        place.run("ip", "link", "set", "groups0", "up")
        place.add_addresses("groups0", "192.0.2.1", "2001:db8::1")
        place.run("ip", "route", "add", "224.0.0.0/4", "dev", "groups0")
        with place.entered():
            reactor = Reactor()
            protocol = Recorder()
            port = listen(reactor, protocol, "0.0.0.0,2001:db8::1")
            reactor.result_of(port.joinGroup("239.1.1.1", "groups0"))
            reactor.result_of(port.joinGroup("ff05::1", "groups0"))
            with pytest.raises(MulticastJoinError, match="is not a multicast group"):
                reactor.result_of(port.joinGroup("192.0.2.1", "groups0"))
            assert reactor.result_of(port.setOutgoingInterface("192.0.2.1")) == 1
            port.setTTL(7)
            port.setLoopbackMode(True)
            assert (port.getTTL(), port.getLoopbackMode()) == (7, True)
            port.write(b"x", ("239.1.1.1", port.getHost().port))
            reactor.until(lambda: protocol.got)
            reactor.result_of(port.leaveGroup("ff05::1", "groups0"))
            reactor.result_of(port.stopListening())
