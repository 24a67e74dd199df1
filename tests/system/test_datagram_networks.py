"""Datagram ports of hosts with several addresses and interfaces, made of network namespaces."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import trio
from support.datagrams import WAYS, Echo, Informed, Recorder, listen, listening
from support.loops import LOOPS
from support.namespaces import Namespace, connect_namespaces, namespace, needs_root
from support.processes import PATIENCE
from support.reactors import Reactor
from twisted.internet.error import InvalidAddressError, MulticastJoinError

from dsadapter.frameworks import asyncio as dual_asyncio
from dsadapter.frameworks import trio as dual_trio
from dsadapter.frameworks.blocking import TranslatingSocket

pytestmark = needs_root

WIRES = ("first", "second")
ADDRESSES = {
    "first": ("10.1.0.1", "10.1.0.11", "10.1.0.12", "fd00:1::1", "fd00:1::11", "fd00:1::12"),
    "second": ("10.2.0.1", "10.2.0.11", "169.254.7.7", "fd00:2::1", "fd00:2::11"),
}
PEERS = {"first": ("10.1.0.2", "fd00:1::2"), "second": ("10.2.0.2", "169.254.7.8", "fd00:2::2")}
LINK_LOCAL = "fe80::7"
PEERS_LINK_LOCAL = "fe80::8"
GROUPS = ("239.1.2.3", "ff05::123")


class Network(NamedTuple):
    """A host with many addresses on two interfaces, and a neighbor on each."""

    host: Namespace
    neighbors: dict[str, Namespace]

    def client(self, wire: str, family: int) -> socket.socket:
        with self.neighbors[wire].entered():
            made = socket.socket(family, socket.SOCK_DGRAM)
        made.setblocking(False)
        return made


def _prefix(address: str) -> str:
    return f"{address}/{64 if ':' in address else 16 if address[:4] == '169.' else 24}"


def _add(place: Namespace, address: str, wire: str) -> None:
    if ":" in address:
        place.add_addresses(wire, address)
    else:
        place.run("ip", "address", "add", _prefix(address), "broadcast", "+", "dev", wire)


@pytest.fixture
def network() -> Iterator[Network]:
    with namespace() as host, namespace() as first, namespace() as second:
        neighbors = {"first": first, "second": second}
        for wire, neighbor in neighbors.items():
            connect_namespaces(host, neighbor, wire)
            for address in (*ADDRESSES[wire], LINK_LOCAL):
                _add(host, address, wire)
            for address in (*PEERS[wire], PEERS_LINK_LOCAL):
                _add(neighbor, address, wire)
        yield Network(host, neighbors)


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def answer(reactor: Reactor, client: socket.socket) -> tuple[bytes, str, int]:
    """The next datagram that a client gets, with its source."""
    got: list[Any] = []

    def receive() -> bool:
        try:
            got.append(client.recvfrom(1000))
        except BlockingIOError:
            return False
        return True

    reactor.until(receive)
    data, source = got[0]
    return data, source[0], source[1]


@pytest.mark.parametrize("way", WAYS)
def test_every_address_of_a_host_answers_for_itself(
    reactor: Reactor, network: Network, way: str
) -> None:
    echo = Echo()
    with listening(network.host, reactor, echo, way=way) as port:
        number = port.getHost().port
        for wire in WIRES:
            for address in ADDRESSES[wire]:
                with network.client(wire, family_of(address)) as client:
                    client.sendto(b"x", (address, number))
                    assert answer(reactor, client) == (b"x", address, number)
                    assert echo.got[-1][1][0] in PEERS[wire]


@pytest.mark.parametrize("address", ["10.1.0.11", "fd00:1::11"])
def test_twisteds_own_port_answers_for_the_first_address(
    reactor: Reactor, network: Network, address: str
) -> None:
    with network.host.entered():
        interface = "::" if ":" in address else ""
        port = reactor.listenUDP(0, Echo(), interface=interface)
        number = port.getHost().port
        with network.client("first", family_of(address)) as client:
            client.sendto(b"x", (address, number))
            assert answer(reactor, client)[1] != address
        reactor.result_of(port.stopListening())


def test_packet_information_names_the_interface(reactor: Reactor, network: Network) -> None:
    informed = Informed()
    with listening(network.host, reactor, informed) as port:
        for wire in WIRES:
            index = socket.if_nametoindex(wire)
            for address in ADDRESSES[wire]:
                with network.client(wire, family_of(address)) as client:
                    client.sendto(b"x", (address, port.getHost().port))
                    reactor.until(lambda: informed.infos)
                    info = informed.infos.pop()
                    assert (info.destination, info.interface_index) == (address, index)
                    assert info.interface_name == wire
                    assert info.hop_limit == 64


@pytest.mark.parametrize("way", WAYS)
def test_a_link_local_peer_has_its_zone_and_is_answered_on_its_interface(
    reactor: Reactor, network: Network, way: str
) -> None:
    informed = Informed()
    with listening(network.host, reactor, informed, way=way) as port:
        number = port.getHost().port
        for wire in WIRES:
            with network.client(wire, socket.AF_INET6) as client:
                with network.neighbors[wire].entered():
                    scope = socket.if_nametoindex(wire)
                client.sendto(b"x", (LINK_LOCAL, number, 0, scope))
                reactor.until(lambda: informed.got)
                [(_, addr)], [info] = informed.got, informed.infos
                assert addr == (f"{PEERS_LINK_LOCAL}%{wire}", client.getsockname()[1])
                assert info.destination == f"{LINK_LOCAL}%{wire}"
                # The object, its text, and the text of the information.
                port.write(b"1", addr)
                port.write(b"2", tuple(addr))
                port.write(b"3", (addr[0], addr[1]), source=info.destination)
                for data in (b"1", b"2", b"3"):
                    assert answer(reactor, client)[:2] == (data, LINK_LOCAL)
                informed.got.clear()
                informed.infos.clear()
        with pytest.raises(InvalidAddressError, match="interface"):
            port.write(b"x", (f"{PEERS_LINK_LOCAL}%first", 9), interface="second", source="::")


def test_a_link_local_interface_is_bound_with_its_zone(reactor: Reactor, network: Network) -> None:
    echo = Echo()
    with listening(network.host, reactor, echo, f"{LINK_LOCAL}%second") as port:
        assert port.getHost().host == f"{LINK_LOCAL}%second"
        with network.client("second", socket.AF_INET6) as client:
            with network.neighbors["second"].entered():
                scope = socket.if_nametoindex("second")
            client.sendto(b"x", (LINK_LOCAL, port.getHost().port, 0, scope))
            assert answer(reactor, client)[1] == LINK_LOCAL


def test_a_renamed_interface_is_known_by_its_new_name(
    reactor: Reactor, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsadapter.packetinfo.receiving._CACHED_SECONDS", 0.0)
    informed = Informed()
    with listening(network.host, reactor, informed) as port:
        with network.client("first", socket.AF_INET) as client:
            for name in ("first", "renamed"):
                client.sendto(b"x", ("10.1.0.1", port.getHost().port))
                reactor.until(lambda: informed.infos)
                assert informed.infos.pop().interface_name == name
                if name == "first":
                    network.host.run("ip", "link", "set", "first", "down")
                    network.host.run("ip", "link", "set", "first", "name", "renamed")
                    network.host.run("ip", "link", "set", "renamed", "up")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("wire", WIRES)
def test_a_datagram_to_a_group_is_answered_from_an_address_of_the_interface(
    reactor: Reactor, network: Network, wire: str, group: str, way: str
) -> None:
    informed = Informed()
    informed.answer = b"y"
    with listening(network.host, reactor, informed, way=way) as port:
        reactor.result_of(port.joinGroup(group, wire))
        with network.client(wire, family_of(group)) as client:
            send_to_group(network, client, wire, group, port.getHost().port)
            data, source, _ = answer(reactor, client)
        assert (data, source in (*ADDRESSES[wire], LINK_LOCAL)) == (b"y", True)
        [info] = informed.infos
        assert (info.destination, info.interface_name) == (group, wire)


def send_to_group(
    network: Network, client: socket.socket, wire: str, group: str, port: int
) -> None:
    with network.neighbors[wire].entered():
        index = socket.if_nametoindex(wire)
    if ":" in group:
        client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 4)
    else:
        own = socket.inet_aton(PEERS[wire][0])
        client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
    client.sendto(b"x", (group, port))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("address", ["10.2.0.255", "255.255.255.255"])
def test_a_broadcast_is_answered_from_an_address_of_the_interface(
    reactor: Reactor, network: Network, address: str, way: str
) -> None:
    informed = Informed()
    informed.answer = b"y"
    with listening(network.host, reactor, informed, way=way) as port:
        with network.client("second", socket.AF_INET) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            client.bind(("10.2.0.2" if address[:2] == "10" else "0.0.0.0", 0))
            if address == "255.255.255.255":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"second")
            client.sendto(b"x", (address, port.getHost().port))
            data, source, _ = answer(reactor, client)
        assert data == b"y"
        assert source in ADDRESSES["second"]
        [info] = informed.infos
        assert (info.destination, info.interface_name) == (address, "second")


@pytest.mark.parametrize("interface", ["::", "0.0.0.0"])
def test_a_broadcast_is_sent_when_it_is_allowed(
    reactor: Reactor, network: Network, interface: str
) -> None:
    with listening(network.host, reactor, Recorder(), interface) as port:
        port.setBroadcastAllowed(True)
        with network.client("second", socket.AF_INET) as client:
            client.bind(("0.0.0.0", 0))
            number = client.getsockname()[1]
            port.write(b"x", ("10.2.0.255", number), source="10.2.0.11")
            assert answer(reactor, client)[:2] == (b"x", "10.2.0.11")
            port.write(b"x", ("<broadcast>", number), interface="second")
            assert answer(reactor, client)[0] == b"x"


@pytest.mark.parametrize("way", WAYS)
def test_a_sender_without_an_address_is_heard_and_not_answered(
    reactor: Reactor, network: Network, way: str
) -> None:
    # As DHCP's clients. To a socket, 0.0.0.0 would be this machine itself.
    from support.frames import udp_over_ipv4, write_frame

    recorder = Recorder()
    with listening(network.host, reactor, recorder, way=way) as port:
        with network.neighbors["first"].entered():
            packet = udp_over_ipv4("0.0.0.0", 68, "255.255.255.255", port.getHost().port, b"x")
            write_frame("first", packet, b"\xff" * 6)
        reactor.until(lambda: recorder.got)
        assert recorder.got == [(b"x", ("0.0.0.0", 68))]
        for options in ({}, {"source": "10.1.0.1"}, {"interface": "first"}):
            with pytest.raises(OSError, match="has no address yet"):
                port.write(b"y", recorder.got[0][1], **options)


@pytest.mark.parametrize(
    ("group", "by_address", "elsewhere"),
    [("239.1.2.3", "10.1.0.11", "10.2.0.1"), ("ff05::123", "fd00:1::11", "fd00:2::1")],
)
def test_groups_are_joined_and_left_by_name_index_and_address(
    reactor: Reactor, network: Network, group: str, by_address: str, elsewhere: str
) -> None:
    recorder = Recorder()
    with listening(network.host, reactor, recorder) as port:
        index = socket.if_nametoindex("first")
        spellings: list[Any] = ["first", index, str(index), by_address]
        with (
            network.client("first", family_of(group)) as near,
            network.client("second", family_of(group)) as far,
        ):
            for spelling in spellings:
                for other in spellings:
                    reactor.result_of(port.joinGroup(group, spelling))
                    send_to_group(network, far, "second", group, port.getHost().port)
                    send_to_group(network, near, "first", group, port.getHost().port)
                    reactor.until(lambda: recorder.got)
                    reactor.result_of(port.leaveGroup(group, other))
                    send_to_group(network, near, "first", group, port.getHost().port)
                    near.sendto(b"end", (by_address, port.getHost().port))
                    reactor.until(lambda: recorder.got[-1][0] == b"end")
                    assert [data for data, _ in recorder.got] == [b"x", b"end"]
                    recorder.got.clear()
        if ":" in group:
            reactor.result_of(port.joinGroup("ff02::123%second"))
            reactor.result_of(port.leaveGroup("ff02::123", elsewhere))


@pytest.mark.parametrize(
    ("group", "arguments", "says"),
    [
        ("10.1.0.1", (), "is not a multicast group"),
        ("fd00:1::1", (), "is not a multicast group"),
        ("239.1.2.3", ("fd00:1::1",), "give an address of the group's family"),
        ("ff05::1", ("10.1.0.1",), "give an address of the group's family"),
        ("239.1.2.3", ("10.9.9.9",), "no interface has the address '10.9.9.9'"),
        ("239.1.2.3", (4000,), "No such device"),
        ("239.1.2.3", ("first", "fd00:1::2"), "is not of the family of the group"),
    ],
)
def test_a_group_that_can_not_be_joined_is_one_clear_error(
    reactor: Reactor, network: Network, group: str, arguments: tuple[Any, ...], says: str
) -> None:
    with listening(network.host, reactor, Recorder()) as port:
        with pytest.raises(MulticastJoinError, match=says):
            reactor.result_of(port.joinGroup(group, *arguments))


@pytest.mark.parametrize(("interface", "group"), [("0.0.0.0", "ff05::1"), ("fd00:1::1", GROUPS[0])])
def test_a_group_of_the_other_family_is_refused(
    reactor: Reactor, network: Network, interface: str, group: str
) -> None:
    with listening(network.host, reactor, Recorder(), interface) as port:
        with pytest.raises(MulticastJoinError, match="which this port does not serve"):
            reactor.result_of(port.joinGroup(group, "first"))


@pytest.mark.parametrize(
    ("interface", "group"),
    [
        ("::", GROUPS[0]),
        ("::", GROUPS[1]),
        ("0.0.0.0", GROUPS[0]),
    ],
)
def test_a_group_that_only_others_joined_is_not_heard(
    reactor: Reactor, network: Network, interface: str, group: str
) -> None:
    recorder = Recorder()
    with listening(network.host, reactor, recorder, interface) as port:
        other = listen(reactor, Recorder())
        reactor.result_of(other.joinGroup(group, "first"))
        number = port.getHost().port
        with network.client("first", family_of(group)) as client:
            send_to_group(network, client, "first", group, number)
            client.sendto(b"to the host", (ADDRESSES["first"][3 if ":" in group else 0], number))
        reactor.until(lambda: recorder.got)
        reactor.result_of(port.joinGroup(group, "first"))
        with network.client("first", family_of(group)) as client:
            send_to_group(network, client, "first", group, number)
        reactor.until(lambda: len(recorder.got) > 1)
        assert recorder.got[0][0] == b"to the host"
        assert len(recorder.got) == 2
        reactor.result_of(other.stopListening())


@pytest.mark.parametrize("family", [0, 1])
def test_a_group_is_joined_for_one_source(reactor: Reactor, network: Network, family: int) -> None:
    group, wanted, other = (
        ("232.1.2.3", "10.1.0.2", "10.1.0.3"),
        ("ff35::123", "fd00:1::2", "fd00:1::3"),
    )[family]
    _add(network.neighbors["first"], other, "first")
    recorder = Recorder()
    with listening(network.host, reactor, recorder) as port:
        number = port.getHost().port
        reactor.result_of(port.joinGroup(group, "first", source=wanted))
        for source in (other, wanted):
            with network.client("first", family_of(group)) as client:
                client.bind((source, 0))
                send_to_group(network, client, "first", group, number)
        reactor.until(lambda: recorder.got)
        assert [addr[0] for _, addr in recorder.got] == [wanted]
        reactor.result_of(port.leaveGroup(group, "first", source=wanted))


@pytest.mark.parametrize("interface", ["::", "0.0.0.0", "fd00:1::1"])
def test_multicast_settings_act_on_every_family(
    reactor: Reactor, network: Network, interface: str
) -> None:
    with listening(network.host, reactor, Recorder(), interface) as port:
        assert port.getLoopbackMode() is True
        assert port.getTTL() == 1
        unspecified = "0.0.0.0" if interface == "0.0.0.0" else 0
        assert port.getOutgoingInterface() == unspecified
        port.setLoopbackMode(0)
        port.setTTL(3)
        index = socket.if_nametoindex("second")
        spellings: list[Any] = ["second", index]
        spellings += ["10.2.0.1"] if interface != "fd00:1::1" else ["fd00:2::1"]
        for spelling in spellings:
            reactor.result_of(port.setOutgoingInterface(spelling))
            expected = "10.2.0.1" if interface == "0.0.0.0" else index
            assert port.getOutgoingInterface() == expected
        assert port.getLoopbackMode() is False
        assert port.getTTL() == 3
        handle = port.getHandle()
        if interface != "0.0.0.0":
            for option, value in ((19, 0), (18, 3), (17, index)):
                assert handle.getsockopt(socket.IPPROTO_IPV6, option) == value
        if interface != "fd00:1::1":
            for option, value in ((34, 0), (33, 3)):
                assert handle.getsockopt(socket.IPPROTO_IP, option) == value
        for ttl in (-1, 256):
            with pytest.raises(ValueError, match="is not a number from 0 to 255"):
                port.setTTL(ttl)
        with pytest.raises((ValueError, OSError)):
            reactor.result_of(port.setOutgoingInterface(4000))


@pytest.mark.parametrize("group", ["224.0.0.251", "ff02::fb"])
def test_two_responders_of_one_host_each_hear_and_answer_their_network(
    reactor: Reactor, network: Network, group: str
) -> None:
    """As mDNS: one socket, one group on two interfaces, questions and answers to the group."""
    port_number = 5353

    class Responder(Informed):
        def packetReceived(self, data: bytes, addr: Any, info: Any) -> None:
            super().packetReceived(data, addr, info)
            # To the group, on the interface that was asked.
            self.transport.write(
                data + b" is here", (info_group(info), port_number), interface=info.interface_name
            )

    def info_group(info: Any) -> str:
        return str(info.destination.partition("%")[0])

    responder = Responder()
    with listening(network.host, reactor, responder, port=port_number) as port:
        port.setLoopbackMode(0)
        for wire in WIRES:
            reactor.result_of(port.joinGroup(group, wire))
        for wire in WIRES:
            with network.neighbors[wire].entered():
                asker = Recorder()
                asking = listen(reactor, asker, port=port_number)
                asking.setLoopbackMode(0)
                reactor.result_of(asking.joinGroup(group, wire))
                asking.write(wire.encode(), (group, port_number), interface=wire)
            # Names of interfaces are looked up where the thread is: back in the host.
            reactor.until(lambda asker=asker: asker.got)
            [(data, addr)] = asker.got
            assert data == wire.encode() + b" is here"
            assert addr[0].partition("%")[0] in (*ADDRESSES[wire], LINK_LOCAL)
            reactor.result_of(asking.stopListening())
        assert [info.interface_name for info in responder.infos] == list(WIRES)


def test_IPv6_switched_off_by_sysctl_still_serves_IPv4(reactor: Reactor) -> None:
    with namespace() as place:
        for scope in ("all", "default", "lo"):
            place.run("sysctl", "-qw", f"net.ipv6.conf.{scope}.disable_ipv6=1")
        with listening(place, reactor, Echo()) as port:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                client.sendto(b"x", ("127.0.0.5", port.getHost().port))
                assert answer(reactor, client)[:2] == (b"x", "127.0.0.5")
            with pytest.raises(OSError) as caught:
                port.write(b"x", ("::1", 9))
            assert caught.value.errno in (errno.EADDRNOTAVAIL, errno.ENETUNREACH)


def test_the_system_default_of_v6only_does_not_matter(reactor: Reactor) -> None:
    with namespace() as place:
        place.run("sysctl", "-qw", "net.ipv6.bindv6only=1")
        with listening(place, reactor, Echo()) as port:
            for address in ("127.0.0.5", "::1"):
                with socket.socket(family_of(address), socket.SOCK_DGRAM) as client:
                    client.setblocking(False)
                    client.sendto(b"x", (address, port.getHost().port))
                    assert answer(reactor, client)[:2] == (b"x", address)


PROHIBITED = {"10.9.0.1": errno.EHOSTUNREACH, "fd00:9::1": errno.EACCES}
"""Addresses that a router lets nothing through to, and what it says then."""


@pytest.fixture
def behind_a_router() -> Iterator[Namespace]:
    with namespace() as host, namespace() as router:
        connect_namespaces(host, router)
        host.add_addresses("wire", "10.1.0.1", "fd00:1::1")
        router.add_addresses("wire", "10.1.0.2", "fd00:1::2")
        for setting in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
            router.run("sysctl", "-qw", f"net.{setting}=1")
        for address, way in zip(PROHIBITED, ("10.1.0.2", "fd00:1::2"), strict=True):
            host.run("ip", "route", "add", address, "via", way)
            router.run("ip", "route", "add", "prohibit", address)
        with host.entered():
            yield host


@pytest.mark.usefixtures("behind_a_router")
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("address", "number"), PROHIBITED.items())
def test_an_asyncio_protocol_is_told_what_a_router_says_of_its_peer(
    loop: str, address: str, number: int
) -> None:
    told: list[Any] = []

    class Protocol(asyncio.DatagramProtocol):
        def error_received(self, exc: Exception) -> None:
            told.append(exc)

    async def main() -> None:
        transport, _ = await dual_asyncio.create_datagram_endpoint(
            Protocol, remote_addr=(address, 9)
        )
        # Not before it has been said. A router says it only now and then.
        deadline = time.monotonic() + PATIENCE
        while not told:
            assert time.monotonic() < deadline
            transport.sendto(b"x")
            await asyncio.sleep(0.02)
        transport.abort()

    LOOPS[loop](main)
    assert isinstance(told[0], OSError)
    assert (told[0].errno, told[0].strerror) == (number, os.strerror(number))


@pytest.mark.usefixtures("behind_a_router")
@pytest.mark.parametrize(("address", "number"), PROHIBITED.items())
def test_what_a_router_has_said_is_nothing_the_next_datagram_fails_with(
    address: str, number: int
) -> None:
    async def main() -> None:
        with trio.fail_after(PATIENCE), await dual_trio.open_udp_socket() as sock:
            await sock.connect((address, 9))
            while not sock.is_readable():
                assert await sock.send(b"x") == 1
                await trio.sleep(0.02)
            assert await sock.send(b"y") == 1
            with pytest.raises(OSError) as caught:
                await sock.recv(10)
            assert caught.value.errno == number

    trio.run(main)


def test_a_sender_without_an_address_is_no_error_of_the_application(network: Network) -> None:
    """It sends what any neighbor can: that must not end a server as a wrong argument does."""
    from support.frames import udp_over_ipv6, write_frame

    to = ADDRESSES["first"][3]

    def send(number: int) -> None:
        with network.neighbors["first"].entered():
            write_frame("first", udp_over_ipv6("::", 5353, to, number, b"x"), b"\xff" * 6)

    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            senders.append(addr[0])
            self.transport.sendto(data, addr)

        def error_received(self, exc: Exception) -> None:
            told.append(exc)

    async def by_asyncio() -> None:
        transport, _ = await dual_asyncio.create_datagram_endpoint(Echo)
        send(transport.get_extra_info("sockname")[1])
        async with asyncio.timeout(PATIENCE):
            while not told:
                await asyncio.sleep(0.005)
        transport.abort()

    async def by_trio() -> None:
        with trio.fail_after(PATIENCE), await dual_trio.open_udp_socket() as sock:
            send(sock.getsockname()[1])
            data, sender = await sock.recvfrom(10)
            senders.append(sender[0])
            for options in ({}, {"source": to}):
                with pytest.raises(OSError) as caught:
                    await sock.send_datagram(data, sender, **options)
                told.append(caught.value)

    def by_the_stdlib() -> None:
        with TranslatingSocket(type=socket.SOCK_DGRAM) as sock:
            sock.bind(("::", 0))
            sock.settimeout(PATIENCE)
            send(sock.getsockname()[1])
            data, sender, _ = sock.receive_datagram(10)
            senders.append(sender[0])
            with pytest.raises(OSError) as caught:
                sock.send_datagram(data, sender, source=to)
            told.append(caught.value)

    senders: list[str] = []
    told: list[Any] = []
    with network.host.entered(), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as victim:
        # To a socket, :: is this machine itself.
        victim.bind(("::1", 5353))
        asyncio.run(by_asyncio())
        trio.run(by_trio)
        by_the_stdlib()
        victim.setblocking(False)
        with pytest.raises(BlockingIOError):
            victim.recv(10)
    assert senders == ["::"] * 3
    assert [error.errno for error in told] == [errno.EDESTADDRREQ] * 4


def test_asyncio_names_a_link_local_peer_whose_interface_has_gone(network: Network) -> None:
    got: list[Any] = []

    class Protocol(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            got.append((data, addr))

    async def main() -> None:
        transport, _ = await dual_asyncio.create_datagram_endpoint(Protocol)
        number = transport.get_extra_info("sockname")[1]
        index = socket.if_nametoindex("first")
        with network.client("first", socket.AF_INET6) as client:
            with network.neighbors["first"].entered():
                scope = socket.if_nametoindex("first")
            client.bind((PEERS_LINK_LOCAL, 0, 0, scope))
            async with asyncio.timeout(PATIENCE):
                for data in (b"1", b"2"):
                    client.sendto(data, (LINK_LOCAL, number, 0, scope))
                    if data == b"2":
                        # Before the loop looks at the second.
                        network.host.run("ip", "link", "delete", "first")
                    while len(got) < int(data):
                        await asyncio.sleep(0.005)
            port = client.getsockname()[1]
        assert [data for data, _ in got] == [b"1", b"2"]
        assert got[0][1] == (f"{PEERS_LINK_LOCAL}%first", port, 0, index)
        assert got[1][1][1:] == (port, 0, index)
        transport.abort()

    with network.host.entered():
        asyncio.run(main())
