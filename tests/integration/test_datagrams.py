"""Datagram ports on loopback: both families through one socket, answers from the address asked."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from support.datagrams import WAYS, Echo, Informed, Recorder, counters, listen, peer
from support.reactors import Reactor, open_descriptors
from support.spellings import SPELLINGS
from support.windows import (
    IGNORES_SOURCES,
    LOOPBACK_NAME,
    NO_REFUSALS,
    counts_descriptors,
)
from twisted.internet import error
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IListeningPort,
    IMulticastTransport,
    ISystemHandle,
    IUDPTransport,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.testing import MemoryReactor
from twisted.logger import formatEventAsClassicLogText, globalLogPublisher
from zope.interface import providedBy
from zope.interface.verify import verifyObject

from dsadapter.errors import NotDualStackError
from dsadapter.frameworks.twisted import DualStackDatagramEndpoint
from dsadapter.packetinfo import PacketInfo
from dsadapter.policy import DatagramPolicy
from dsadapter.sockets.binding import open_datagram_socket

V6ONLY = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def stop(reactor: Reactor, *ports: Any) -> None:
    for port in ports:
        reactor.result_of(port.stopListening())


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    made: str = request.param
    return made


@pytest.fixture
def logged() -> Iterator[list[str]]:
    events: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        events.append(formatEventAsClassicLogText(event) or "")

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)


def failure_of(endpoint: DualStackDatagramEndpoint, protocol: Any) -> Exception:
    failures: list[Any] = []
    endpoint.listen(protocol).addErrback(failures.append)
    error: Exception = failures[0].value
    return error


@pytest.mark.parametrize("interface", SPELLINGS["::"])
@counts_descriptors
def test_one_socket_serves_both_families(reactor: Reactor, interface: str) -> None:
    before = open_descriptors()
    echo = Echo()
    port = listen(reactor, echo, interface)
    assert len(open_descriptors() - before) == 1
    number = port.getHost().port
    assert port.getHost() == IPv6Address("UDP", "::", number)
    assert port.socket.getsockopt(*V6ONLY) == 0
    for host in ("127.0.0.1", "::1"):
        with peer(host) as client:
            client.sendto(b"hello", (host, number))
            reactor.until(lambda: echo.got)
            assert echo.got.pop() == (b"hello", client.getsockname()[:2])
            data, sender = client.recvfrom(100)
            assert (data, sender[:2]) == (b"hello", (host, number))
    assert counters(port) == {"received": 2, "translated": 1}
    stop(reactor, port)
    assert open_descriptors() <= before


@pytest.mark.parametrize(
    ("interface", "host", "other"),
    [
        *((text, "127.0.0.1", "::1") for text in SPELLINGS["127.0.0.1"]),
        *((text, "127.0.0.1", "::1") for text in SPELLINGS["0.0.0.0"]),
        *((text, "::1", "127.0.0.1") for text in SPELLINGS["::1"]),
    ],
)
@pytest.mark.not_on_windows(NO_REFUSALS)
def test_one_family_is_not_widened(
    reactor: Reactor, interface: str, host: str, other: str, way: str
) -> None:
    echo = Echo()
    port = listen(reactor, echo, interface, way=way)
    number = port.getHost().port
    assert port.getHost().host == ("0.0.0.0" if interface in SPELLINGS["0.0.0.0"] else host)
    with peer(host) as client, peer(other) as stranger:
        stranger.connect((other, number))
        stranger.send(b"refused")
        client.sendto(b"hello", (host, number))
        assert reactor_serves(reactor, client) == b"hello"
        with pytest.raises(ConnectionRefusedError):
            stranger.recv(100)
    with pytest.raises(error.InvalidAddressError, match="bind one to '::' for both"):
        port.write(b"x", (other, 1))
    stop(reactor, port)


def reactor_serves(reactor: Reactor, client: socket.socket) -> bytes:
    """What a client gets while the reactor runs."""
    client.setblocking(False)
    got: list[bytes] = []

    def receive() -> bool:
        try:
            got.append(client.recv(65536))
        except BlockingIOError:
            return False
        return True

    reactor.until(receive)
    client.settimeout(20)
    return got[0]


# Wine's answer never comes: not worth its patience.
OTHER_SOURCE = pytest.param(
    "127.0.0.5", marks=pytest.mark.not_on_windows(f"Wine {IGNORES_SOURCES}")
)


@pytest.mark.parametrize("host", [OTHER_SOURCE, "::1", "127.0.0.1"])
def test_an_answer_leaves_from_the_address_that_was_asked(
    reactor: Reactor, host: str, way: str
) -> None:
    port = listen(reactor, Echo(), way=way)
    for _ in range(3):
        with peer(host if ":" in host else "127.0.0.1") as client:
            # Connected, it takes no answer from another address.
            client.connect((host, port.getHost().port))
            for number in range(5):
                client.send(b"%d" % number)
            answers = [reactor_serves(reactor, client) for _ in range(5)]
            assert answers == [b"%d" % number for number in range(5)]
    stop(reactor, port)


def test_twisteds_own_port_answers_from_another_address(reactor: Reactor) -> None:
    port = reactor.listenUDP(0, Echo())
    with peer("127.0.0.1") as client:
        client.sendto(b"hello", ("127.0.0.5", port.getHost().port))
        assert reactor_serves(reactor, client) == b"hello"
        client.sendto(b"hello", ("127.0.0.5", port.getHost().port))
        reactor.iterate(0.1)
        assert client.recvfrom(100)[1][0] == "127.0.0.1"
    stop(reactor, port)


@pytest.mark.not_on_windows(f"Wine {IGNORES_SOURCES}")
def test_one_client_that_asks_two_addresses_is_answered_late_and_in_reverse_order(
    reactor: Reactor, way: str
) -> None:
    recorder = Recorder()
    port = listen(reactor, recorder, way=way)
    number = port.getHost().port
    with peer("127.0.0.1") as client:
        for host in ("127.0.0.2", "127.0.0.3"):
            client.sendto(host.encode(), (host, number))
        reactor.until(lambda: len(recorder.got) == 2)
        addresses = dict(recorder.got)
        first, second = addresses.values()
        assert first == second == client.getsockname()
        for data, addr in reversed(addresses.items()):
            reactor.callLater(0, port.write, data, addr)
        reactor.iterate(0.05)
        for asked in ("127.0.0.3", "127.0.0.2"):
            data, sender = client.recvfrom(100)
            assert (data, sender) == (asked.encode(), (asked, number))
    stop(reactor, port)


@pytest.mark.not_on_windows(f"Wine {IGNORES_SOURCES}")
def test_the_address_is_a_plain_tuple_in_everything_that_can_be_seen(reactor: Reactor) -> None:
    recorder = Recorder()
    port = listen(reactor, recorder)
    with peer("127.0.0.1") as client:
        client.sendto(b"x", ("127.0.0.7", port.getHost().port))
        reactor.until(lambda: recorder.got)
        [(_, addr)] = recorder.got
        plain = client.getsockname()
        assert addr == plain
        assert plain == addr
        assert hash(addr) == hash(plain)
        assert {addr: 1}[plain] == 1
        assert repr(addr) == repr(plain)
        assert str(addr) == str(plain)
        assert "{}:{}".format(*addr) == "{}:{}".format(*plain)
        host, number = addr
        assert (host, number) == plain
        assert type(host) is str
        assert isinstance(addr, tuple)
        assert len(addr) == 2
        assert addr[0] == plain[0]
        assert (*addr, 1) == (*plain, 1)
        assert type(pickle.loads(pickle.dumps(addr))) is tuple
        assert pickle.loads(pickle.dumps(addr)) == plain
        for copied in (copy.copy(addr), copy.deepcopy([addr])[0]):
            port.write(b"still", copied)
            assert client.recvfrom(100)[1][0] == "127.0.0.7"
        # What was pickled has forgotten, as any plain tuple.
        port.write(b"plain", pickle.loads(pickle.dumps(addr)))
        assert client.recvfrom(100)[1][0] == "127.0.0.1"
    stop(reactor, port)


@pytest.mark.not_on_windows(f"Wine {IGNORES_SOURCES}")
def test_an_applications_dictionary_keeps_the_first_way_back(reactor: Reactor) -> None:
    recorder = Recorder()
    port = listen(reactor, recorder)
    with peer("127.0.0.1") as client:
        peers: dict[Any, Any] = {}
        for host in ("127.0.0.2", "127.0.0.3"):
            client.sendto(b"x", (host, port.getHost().port))
            reactor.until(lambda: recorder.got)
            _, addr = recorder.got.pop()
            peers[addr] = addr
        [key] = peers
        port.write(b"by the key", key)
        assert client.recvfrom(100)[1][0] == "127.0.0.2"
        # The remedy: the value is the last one.
        port.write(b"by the value", peers[key])
        assert client.recvfrom(100)[1][0] == "127.0.0.3"
    stop(reactor, port)


@pytest.mark.not_on_windows(f"Wine {IGNORES_SOURCES}")
def test_another_ports_address_is_a_plain_one(reactor: Reactor) -> None:
    recorder = Recorder()
    asked, other = listen(reactor, recorder), listen(reactor, Recorder())
    ipv4 = listen(reactor, Recorder(), "0.0.0.0")
    with peer("127.0.0.1") as client:
        client.sendto(b"x", ("127.0.0.9", asked.getHost().port))
        reactor.until(lambda: recorder.got)
        [(_, addr)] = recorder.got
        for port in (other, ipv4):
            port.write(b"y", addr)
            assert client.recvfrom(100)[1] == ("127.0.0.1", port.getHost().port)
        # The same port opened again is the same port.
        stop(reactor, asked)
        asked.startListening()
        asked.write(b"z", addr)
        assert client.recvfrom(100)[1] == ("127.0.0.9", asked.getHost().port)
    stop(reactor, asked, other, ipv4)


@pytest.mark.parametrize("interface", ["::", "0.0.0.0"])
@pytest.mark.not_on_windows(f"Wine {IGNORES_SOURCES}")
def test_a_source_is_chosen_for_one_datagram(reactor: Reactor, interface: str) -> None:
    recorder = Recorder()
    port = listen(reactor, recorder, interface)
    with peer("127.0.0.1") as client:
        address = client.getsockname()
        for source in ("127.0.0.5", "::ffff:127.0.0.5"):
            port.write(b"x", address, source=source)
            assert client.recvfrom(100)[1][0] == "127.0.0.5"
        port.write(b"x", address, source="0.0.0.0")
        assert client.recvfrom(100)[1][0] == "127.0.0.1"
        port.write(b"x", address, source="127.0.0.6", interface=LOOPBACK_NAME)
        assert client.recvfrom(100)[1][0] == "127.0.0.6"
        port.write(b"x", address, interface=socket.if_nametoindex(LOOPBACK_NAME))
        assert client.recvfrom(100)[0] == b"x"
        # It outweighs what the address remembers.
        client.sendto(b"x", ("127.0.0.7", port.getHost().port))
        reactor.until(lambda: recorder.got)
        port.write(b"x", recorder.got[0][1], source="127.0.0.8")
        assert client.recvfrom(100)[1][0] == "127.0.0.8"
    stop(reactor, port)


def test_a_source_is_chosen_for_an_IPv6_destination(reactor: Reactor) -> None:
    port = listen(reactor, Recorder())
    with peer("::1") as client:
        port.write(b"x", client.getsockname()[:2], source="::1", interface=LOOPBACK_NAME)
        assert client.recvfrom(100)[1][0] == "::1"
    stop(reactor, port)


@pytest.mark.parametrize(
    ("host", "source", "interface", "says"),
    [
        ("127.0.0.1", "::1", None, "source '::1' is IPv6, but the destination '127.0.0.1' is IPv4"),
        ("::1", "127.0.0.1", None, "is IPv4, but the destination '::1' is IPv6"),
        ("::1", "::ffff:127.0.0.1", None, "is IPv4, but the destination '::1' is IPv6"),
        ("127.0.0.1", "224.0.0.1", None, "multicast or broadcast"),
        ("127.0.0.1", "255.255.255.255", None, "multicast or broadcast"),
        ("::1", "ff02::1", None, "multicast or broadcast"),
        ("127.0.0.1", "localhost", None, "'localhost' is not an address literal"),
        ("127.0.0.1", None, "nothere", "this machine has no interface 'nothere'"),
        ("127.0.0.1", None, -1, "this machine has no interface -1"),
        ("localhost", None, None, "'localhost' is not an address literal"),
        ("127.0.0.01", None, None, "leading zeros"),
        ("fe80::1%nothere", None, None, "this machine has no interface 'nothere'"),
        (b"127.0.0.1", None, None, "is not text"),
        ("::ffff:127.0.0.1%lo", None, None, "zone id"),
    ],
)
def test_what_can_not_be_sent_is_one_clear_error(
    reactor: Reactor, host: Any, source: str | None, interface: Any, says: str
) -> None:
    port = listen(reactor, Recorder())
    with pytest.raises(error.InvalidAddressError) as caught:
        port.write(b"x", (host, 9), source=source, interface=interface)
    assert says in caught.value.message
    assert caught.value.address == host
    stop(reactor, port)


@pytest.mark.parametrize(("host", "source"), [("127.0.0.1", "192.0.2.77"), ("::1", "2001:db8::77")])
@pytest.mark.not_on_windows(f"Wine {IGNORES_SOURCES}")
def test_a_source_that_is_not_ours_is_named(reactor: Reactor, host: str, source: str) -> None:
    port = listen(reactor, Recorder())
    with pytest.raises(OSError, match="no address of this machine") as caught:
        port.write(b"x", (host, 9), source=source)
    assert caught.value.errno in (errno.ENETUNREACH, errno.EINVAL)
    stop(reactor, port)


def test_mapped_destinations_from_elsewhere_are_IPv4(reactor: Reactor) -> None:
    for interface in ("::", "127.0.0.1"):
        port = listen(reactor, Recorder(), interface)
        with peer("127.0.0.1") as client:
            port.write(b"x", ("::ffff:7f00:1", client.getsockname()[1]))
            assert client.recv(100) == b"x"
        stop(reactor, port)
    port = listen(reactor, Recorder(), "::1")
    with pytest.raises(error.InvalidAddressError, match="is IPv4, but"):
        port.write(b"x", ("::ffff:127.0.0.1", 9))
    stop(reactor, port)


def test_writeSequence(reactor: Reactor) -> None:
    port = listen(reactor, Recorder())
    with peer("127.0.0.1") as client:
        port.writeSequence([b"a", b"b"], client.getsockname())
        assert client.recv(100) == b"ab"
    stop(reactor, port)


@pytest.mark.not_on_windows("Wine tells no hop limit of IPv4 datagrams")
def test_packet_information_of_both_families(reactor: Reactor, way: str) -> None:
    informed = Informed()
    port = listen(reactor, informed, way=way)
    lo = socket.if_nametoindex(LOOPBACK_NAME)
    for host, level, hops, tos in (
        ("127.0.0.5", socket.IPPROTO_IP, socket.IP_TTL, socket.IP_TOS),
        ("::1", socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, socket.IPV6_TCLASS),
    ):
        with peer("::1" if ":" in host else "127.0.0.1") as client:
            client.setsockopt(level, hops, 17)
            client.setsockopt(level, tos, 0xB8)
            for _ in range(2):
                client.sendto(b"x", (host, port.getHost().port))
            reactor.until(lambda: len(informed.infos) == 2)
            expected = PacketInfo(
                destination=host,
                interface_index=lo,
                interface_name=LOOPBACK_NAME,
                hop_limit=17,
                traffic_class=0xB8,
            )
            assert informed.infos == [expected] * 2
            assert informed.got == [(b"x", client.getsockname()[:2])] * 2
            informed.infos.clear()
            informed.got.clear()
    stop(reactor, port)


def test_an_IPv4_port_gives_packet_information(reactor: Reactor, way: str) -> None:
    informed = Informed()
    informed.answer = b"y"
    port = listen(reactor, informed, "0.0.0.0", way=way)
    with peer("127.0.0.1") as client:
        client.sendto(b"x", ("127.0.0.5", port.getHost().port))
        assert reactor_serves(reactor, client) == b"y"
        [info] = informed.infos
        found = info.destination, info.interface_index, info.interface_name
        assert found == ("127.0.0.5", 1, LOOPBACK_NAME)
    assert counters(port) == {"received": 1}
    stop(reactor, port)


@pytest.mark.not_on_windows("sets options that are Linux's")
def test_packet_information_is_found_whatever_else_is_asked_for(
    reactor: Reactor, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    informed = Informed()
    port = listen(reactor, informed, way=way)
    port.socket.setsockopt(socket.SOL_SOCKET, 29, 1)  # SO_TIMESTAMP
    with peer("127.0.0.1") as client:
        for _ in range(3):
            client.sendto(b"x", ("127.0.0.5", port.getHost().port))
        reactor.until(lambda: len(informed.infos) == 3)
        assert {info.destination for info in informed.infos} == {"127.0.0.5"}
    stop(reactor, port)


@pytest.mark.not_on_windows("sets options that are Linux's")
def test_a_datagram_without_packet_information_is_not_guessed_at(
    reactor: Reactor, way: str, logged: list[str]
) -> None:
    informed = Informed()
    port = listen(reactor, informed, way=way)
    for level, option in ((socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO), (socket.IPPROTO_IP, 8)):
        port.socket.setsockopt(level, option, 0)
    with peer("127.0.0.1") as ipv4, peer("::1") as ipv6:
        for _ in range(2):
            ipv4.sendto(b"dropped", ("127.0.0.1", port.getHost().port))
            ipv6.sendto(b"kept", ("::1", port.getHost().port))
        reactor.until(lambda: len(informed.got) == 2)
        assert informed.infos == [None, None]
        assert informed.got == [(b"kept", ipv6.getsockname()[:2])] * 2
        port.write(b"y", informed.got[0][1])
        assert ipv6.recv(100) == b"y"
    assert counters(port) == {"received": 2, "without_packet_info": 4}
    complaints = [line for line in logged if "without packet information" in line]
    assert len(complaints) == 1
    assert "::ffff" not in complaints[0]
    stop(reactor, port)


@pytest.mark.not_on_windows("Winsock tells no length of what came with cut control messages")
def test_control_messages_that_did_not_fit_are_no_packet_information(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsadapter.packetinfo.receiving.CONTROL_SIZE", 40)
    informed = Informed()
    port = listen(reactor, informed, way="recvmsg")
    with peer("127.0.0.1") as ipv4, peer("::1") as ipv6:
        ipv4.sendto(b"dropped", ("127.0.0.1", port.getHost().port))
        ipv6.sendto(b"kept", ("::1", port.getHost().port))
        reactor.until(lambda: informed.got)
        assert informed.infos == [None]
    assert counters(port) == {"received": 1, "without_packet_info": 2}
    stop(reactor, port)


def test_a_datagram_that_is_too_long_is_reported_and_never_cut(
    reactor: Reactor, way: str, logged: list[str]
) -> None:
    recorder = Recorder()
    port = listen(reactor, recorder, "::", maxPacketSize=100, way=way)
    with peer("127.0.0.1") as client:
        for size in (100, 101, 5000, 0, 99):
            client.sendto(b"x" * size, ("127.0.0.1", port.getHost().port))
        reactor.until(lambda: len(recorder.got) == 3)
    assert [len(data) for data, _ in recorder.got] == [100, 0, 99]
    assert port.counters.truncated == 2
    [line] = [line for line in logged if "maxPacketSize" in line]
    assert "maxPacketSize of 100 bytes: from 127.0.0.1:" in line
    stop(reactor, port)


@pytest.mark.parametrize("size", [1, 8192, 65535, 10**9])
def test_every_maxPacketSize_receives(reactor: Reactor, size: int, way: str) -> None:
    recorder = Recorder()
    port = listen(reactor, recorder, maxPacketSize=size, way=way)
    with peer("127.0.0.1") as client:
        longest = min(size, 65507)
        for _ in range(2):
            client.sendto(b"x" * longest, ("127.0.0.1", port.getHost().port))
        reactor.until(lambda: len(recorder.got) == 2)
        assert [len(data) for data, _ in recorder.got] == [longest] * 2
    stop(reactor, port)


class Troubled(Recorder):
    """Does something at the third datagram."""

    def __init__(self, trouble: Any) -> None:
        super().__init__()
        self.trouble = trouble
        self.turns: list[int] = []

    def datagramReceived(self, data: bytes, addr: Any) -> None:
        super().datagramReceived(data, addr)
        if len(self.got) == 3:
            self.trouble(self)


def fill(port: Any, count: int, size: int = 10) -> None:
    with peer("127.0.0.1") as client:
        for number in range(count):
            client.sendto((b"%d" % number).ljust(size), ("127.0.0.1", port.getHost().port))


def numbers(recorder: Recorder) -> list[int]:
    return [int(data) for data, _ in recorder.got]


def broken(protocol: Any) -> None:
    raise RuntimeError("a bug of the application")


TROUBLES = {
    "raises": broken,
    "stops listening": lambda protocol: protocol.transport.stopListening() and None,
    "pauses": lambda protocol: protocol.transport.stopReading(),
    "reads in between": lambda protocol: protocol.transport.doRead(),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_turn_delivers_what_twisteds_own_delivers(
    reactor: Reactor, trouble: str, way: str
) -> None:
    delivered = []
    for ours in (True, False):
        protocol = Troubled(TROUBLES[trouble])
        port = listen(reactor, protocol, way=way) if ours else reactor.listenUDP(0, protocol)
        fill(port, 50)
        port.doRead()
        delivered.append(numbers(protocol))
        reactor.iterate(0)
        reactor.iterate(0)
        if port.connected:
            stop(reactor, port)
    assert delivered[0] == delivered[1] == list(range(50))


def test_a_port_that_is_gone_delivers_nothing_more(reactor: Reactor, way: str) -> None:
    protocol = Troubled(lambda protocol: protocol.transport.connectionLost())
    port = listen(reactor, protocol, way=way)
    reactor.removeReader(port)
    fill(port, 50)
    port.doRead()
    assert numbers(protocol) == [0, 1, 2]


def test_a_paused_port_keeps_the_rest_in_the_kernel(reactor: Reactor, way: str) -> None:
    recorder = Recorder()
    port = listen(reactor, recorder, way=way)
    port.pauseProducing()
    fill(port, 20)
    reactor.iterate(0)
    assert recorder.got == []
    port.resumeProducing()
    reactor.until(lambda: len(recorder.got) == 20)
    assert numbers(recorder) == list(range(20))
    stop(reactor, port)


@pytest.mark.parametrize(("size", "maximum"), [(1000, 5000), (1000, 5500), (10, 1), (100, 300)])
def test_a_turn_reads_as_many_bytes_as_twisteds_own(
    reactor: Reactor, size: int, maximum: int, way: str
) -> None:
    turns = []
    for ours in (True, False):
        recorder = Recorder()
        port = listen(reactor, recorder, way=way) if ours else reactor.listenUDP(0, recorder)
        reactor.removeReader(port)
        port.maxThroughput = maximum
        fill(port, 12, size)
        sizes = []
        while sum(sizes) < 12:
            port.doRead()
            sizes.append(len(recorder.got) - sum(sizes))
        turns.append(sizes)
        stop(reactor, port)
    assert turns[0] == turns[1]


def test_empty_and_dropped_datagrams_end_a_turn_too(reactor: Reactor, way: str) -> None:
    recorder = Recorder()
    port = listen(reactor, recorder, maxPacketSize=10, way=way)
    reactor.removeReader(port)
    port.maxThroughput = 5
    with peer("127.0.0.1") as client:
        for _ in range(8):
            client.sendto(b"", ("127.0.0.1", port.getHost().port))
    port.doRead()
    assert len(recorder.got) == 5
    stop(reactor, port)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_connected_port_talks_to_one_peer(reactor: Reactor, host: str, way: str) -> None:
    recorder = Recorder()
    port = listen(reactor, recorder, way=way)
    number = port.getHost().port
    with peer(host) as server, peer(host) as stranger:
        address = server.getsockname()[:2]
        port.connect(*address)
        kind = IPv6Address if ":" in host else IPv4Address
        assert port.getHost() == kind("UDP", host, number)
        port.write(b"a")
        port.write(b"b", None)
        port.write(b"c", address)
        assert [server.recv(10) for _ in range(3)] == [b"a", b"b", b"c"]
        stranger.sendto(b"no", (host, number))
        server.sendto(b"yes", (host, number))
        reactor.until(lambda: recorder.got)
        assert recorder.got == [(b"yes", address)]
        port.write(b"d", recorder.got[0][1])
        assert server.recv(10) == b"d"
        with pytest.raises(error.InvalidAddressError, match="is connected to"):
            port.write(b"e", stranger.getsockname()[:2])
        with pytest.raises(RuntimeError):
            port.connect(*address)
    stop(reactor, port)


@pytest.mark.not_on_windows(f"Wine {IGNORES_SOURCES}")
def test_a_connected_ports_address_has_every_spelling(reactor: Reactor) -> None:
    port = listen(reactor, Recorder())
    with peer("127.0.0.1") as server:
        number = server.getsockname()[1]
        port.connect("::ffff:127.0.0.1", number)
        assert port.getHost().host == "127.0.0.1"
        for host in ("127.0.0.1", "::ffff:127.0.0.1", "::FFFF:7f00:1"):
            port.write(host.encode(), (host, number))
            assert server.recv(100) == host.encode()
        port.write(b"x", source="127.0.0.4")
        assert server.recvfrom(100)[1][0] == "127.0.0.4"
    stop(reactor, port)


def test_connect_refuses_what_twisted_refuses(reactor: Reactor) -> None:
    port = listen(reactor, Recorder())
    for host in ("localhost", "", "<broadcast>"):
        with pytest.raises(error.InvalidAddressError):
            port.connect(host, 9)
    only_ipv6 = listen(reactor, Recorder(), "::1")
    with pytest.raises(error.InvalidAddressError, match="is IPv4"):
        only_ipv6.connect("127.0.0.1", 9)
    stop(reactor, port, only_ipv6)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.not_on_windows(NO_REFUSALS)
def test_a_connected_port_is_told_of_a_refusal(reactor: Reactor, host: str, way: str) -> None:
    recorder = Recorder()
    port = listen(reactor, recorder, way=way)
    with peer(host) as gone:
        number = gone.getsockname()[1]
    port.connect(host, number)
    for times in (1, 2, 3):
        port.write(b"x")
        reactor.until(lambda times=times: recorder.refused == times)
    # It is told when it writes, too, whatever the reactor has seen.
    port.write(b"x")
    port.write(b"x")
    assert recorder.refused > 3
    # And it goes on when the peer has come back.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as back:
        back.bind((host, number))
        back.sendto(b"back", (host, port.getHost().port))
        reactor.until(lambda: recorder.got)
    stop(reactor, port)


def test_an_unconnected_port_is_told_nothing(reactor: Reactor) -> None:
    recorder = Recorder()
    port = listen(reactor, recorder)
    with peer("127.0.0.1") as gone:
        number = gone.getsockname()[1]
    for _ in range(3):
        port.write(b"x", ("127.0.0.1", number))
        reactor.iterate(0)
    assert recorder.refused == 0
    stop(reactor, port)


@pytest.mark.parametrize("interface", ["::", "0.0.0.0"])
def test_broadcast_has_to_be_allowed(reactor: Reactor, interface: str) -> None:
    port = listen(reactor, Recorder(), interface)
    assert port.getBroadcastAllowed() is False
    for host in ("<broadcast>", "255.255.255.255"):
        with pytest.raises(PermissionError, match=r"call setBroadcastAllowed\(True\) first"):
            port.write(b"x", (host, 9))
    port.setBroadcastAllowed(True)
    assert port.getBroadcastAllowed() is True
    stop(reactor, port)


def test_a_datagram_that_is_too_long_to_send(reactor: Reactor) -> None:
    port = listen(reactor, Recorder())
    with pytest.raises(error.MessageLengthError):
        port.write(b"x" * 70000, ("127.0.0.1", 9))
    stop(reactor, port)


def test_interfaces_are_twisteds(reactor: Reactor) -> None:
    port, stock = listen(reactor, Recorder()), reactor.listenMulticast(0, Recorder())
    assert set(providedBy(stock)) <= set(providedBy(port))
    for interface in (IListeningPort, IUDPTransport, IMulticastTransport, ISystemHandle):
        assert verifyObject(interface, port)
    assert port in reactor.getReaders()
    assert str(port.getHost().port) in repr(port)
    handle = port.getHandle()
    assert handle.family == socket.AF_INET6
    port.connect("127.0.0.1", 9)
    assert handle.getpeername() == ("127.0.0.1", 9)
    assert handle.getsockname()[0] == "127.0.0.1"
    stop(reactor, port, stock)


def test_a_port_can_be_stopped_and_started_again(reactor: Reactor) -> None:
    echo = Echo()
    port = listen(reactor, echo)
    stop(reactor, port)
    port.startListening()
    with peer("127.0.0.1") as client:
        client.sendto(b"again", ("127.0.0.5", port.getHost().port))
        assert reactor_serves(reactor, client) == b"again"
    stop(reactor, port)


@pytest.mark.parametrize("holder", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.not_on_windows("tests/windows/test_held_ports.py has what is told there")
def test_a_held_port_is_an_error_that_names_who_holds_it(
    reactor: Reactor, holder: str, count: int
) -> None:
    before = open_descriptors()
    with peer(holder) as first:
        number = first.getsockname()[1]
        failure = failure_of(DualStackDatagramEndpoint(reactor, number), Recorder())
        assert isinstance(failure, error.CannotListenError)
        shown = f"[{holder}]" if ":" in holder else holder
        assert f"{shown}:{number} is held by another socket" in str(failure)
        assert failure.socketError.errno == errno.EADDRINUSE
        assert not isinstance(failure.socketError, NotDualStackError)
    assert open_descriptors() <= before


@pytest.mark.not_on_windows("tests/windows/test_held_ports.py has what is told there")
def test_nobody_can_bind_over_the_port(reactor: Reactor) -> None:
    port = listen(reactor, Recorder())
    for host in ("0.0.0.0", "127.0.0.1", "::1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                thief.bind((host, port.getHost().port))
    stop(reactor, port)


def test_a_protocol_that_fails_to_start_leaves_nothing_open(reactor: Reactor) -> None:
    class Failing(DatagramProtocol):
        def startProtocol(self) -> None:
            raise RuntimeError("no")

    before = open_descriptors()
    readers = set(reactor.getReaders())
    assert isinstance(failure_of(DualStackDatagramEndpoint(reactor, 0), Failing()), RuntimeError)
    assert open_descriptors() <= before
    assert set(reactor.getReaders()) == readers


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"port": 65536}, "port 65536"),
        ({"port": "80"}, "port '80'"),
        ({"interface": "127.0.0.1,127.0.0.1"}, "interface '127.0.0.1,127.0.0.1' names .* twice"),
        ({"interface": "example.com"}, "interface 'example.com' is not an address literal"),
        ({"maxPacketSize": 0}, "maxPacketSize 0"),
        ({"maxPacketSize": "big"}, "maxPacketSize 'big'"),
    ],
)
def test_bad_arguments_are_named(reactor: Reactor, arguments: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        DualStackDatagramEndpoint(reactor, **{"port": 0, **arguments})


def test_a_reactor_without_descriptors_records_what_it_is_asked_for() -> None:
    asked = []

    class Recording(MemoryReactor):
        def listenUDP(self, *args: Any, **kwargs: Any) -> None:
            asked.append((args, kwargs))

    protocol = Recorder()
    DualStackDatagramEndpoint(Recording(), 53).listen(protocol)
    assert asked == [((53, protocol), {"interface": "::", "maxPacketSize": 8192})]


@pytest.mark.not_on_windows("looks at options that are Linux's")
def test_before_bind_sees_the_socket_with_its_options_and_may_refuse() -> None:
    before = open_descriptors()
    policy = DatagramPolicy("::", 0)
    seen = []

    def look(sock: socket.socket, asked: DatagramPolicy) -> None:
        options = [(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO), (socket.IPPROTO_IP, 8), V6ONLY]
        seen.append((asked, sock.getsockname()[1], [sock.getsockopt(*o) for o in options]))

    open_datagram_socket(policy, look).close()
    assert seen == [(policy, 0, [1, 1, 0])]

    class RefusedError(Exception):
        pass

    def refuse(sock: socket.socket, asked: DatagramPolicy) -> None:
        raise RefusedError

    with pytest.raises(RefusedError):
        open_datagram_socket(policy, refuse)
    assert open_descriptors() <= before


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", ["stopListening", "connectionLost"])
def test_a_protocol_closes_the_port_inside_a_batch(reactor: Reactor, way: str, end: str) -> None:
    class Closing(Recorder):
        stopped = 0

        def datagramReceived(self, data: bytes, addr: Any) -> None:
            super().datagramReceived(data, addr)
            if len(self.got) == 3:
                getattr(self.transport, end)()

        def stopProtocol(self) -> None:
            self.stopped += 1

    recorder = Closing()
    before = open_descriptors()
    port = listen(reactor, recorder, way=way)
    fill(port, 20)
    reactor.until(lambda: recorder.stopped)
    for _ in range(3):
        reactor.iterate(0)
    # As with listenUDP: closing waits for the end of the turn if it is asked for politely.
    assert numbers(recorder) == list(range(20 if end == "stopListening" else 3))
    assert recorder.stopped == 1
    assert open_descriptors() <= before


def test_no_recvmmsg_no_difference(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    from dsadapter.packetinfo import _recvmmsg, receiving

    class Denied(_recvmmsg.Batch):
        def __init__(self, max_packet_size: int) -> None:
            raise _recvmmsg.BatchUnavailableError(os.strerror(errno.ENOSYS))

    monkeypatch.setattr(receiving, "Batch", Denied)
    recorder = Recorder()
    port = listen(reactor, recorder)
    for _ in range(2):
        fill(port, 20)
        reactor.until(lambda: len(recorder.got) == 20)
        assert numbers(recorder) == list(range(20))
        recorder.got.clear()
    stop(reactor, port)
