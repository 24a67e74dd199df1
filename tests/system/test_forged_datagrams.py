"""Frames whose IPv6 source is an IPv4-mapped address, as only a forger sends them.

Each is written to an interface by AF_PACKET, and shown to reach a plain dual-stack socket.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from support.datagrams import WAYS, Echo, counters, listening, peer
from support.frames import syn_over_ipv6, udp_over_ipv4, udp_over_ipv6, write_frame
from support.namespaces import Namespace, connect_namespaces, namespace, needs_root
from support.reactors import Reactor
from twisted.logger import formatEventAsClassicLogText, globalLogPublisher

from dsadapter.addressing import unmap
from dsadapter.policy import ListenPolicy
from dsadapter.sockets.binding import open_listening_socket

pytestmark = needs_root

VICTIM = 5353
"""The port of a service that is bound to 127.0.0.1 only."""
INTERFACES = ["::", "fd00:1::1", "::1"]


class Wire(NamedTuple):
    """Where frames are written, and which host they reach."""

    host: Namespace
    sender: Namespace
    interface: str
    hardware: bytes

    def write(self, packet: bytes) -> None:
        with self.sender.entered():
            write_frame(self.interface, packet, self.hardware)


@pytest.fixture(params=["lo", "veth"])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    with namespace() as host, namespace() as other:
        connect_namespaces(host, other)
        host.add_addresses("wire", "fd00:1::1", "10.1.0.1")
        if request.param == "lo":
            yield Wire(host, host, "lo", bytes(6))
            return
        with host.entered():
            text = interface_hardware_address("wire")
        yield Wire(host, other, "wire", bytes.fromhex(text.replace(":", "")))


def interface_hardware_address(name: str) -> str:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((name, 0))
        return raw.getsockname()[4].hex(":")


def destination(wire: Wire, interface: str) -> str:
    """An address that frames on this wire reach a socket bound to ``interface`` by."""
    if interface != "::":
        return interface
    return "::1" if wire.interface == "lo" else "fd00:1::1"


def skip_if_unreachable(wire: Wire, interface: str) -> bool:
    # The kernel takes no packet for ::1 from a wire (RFC 4291, section 2.5.3).
    return wire.interface != "lo" and interface == "::1"


@pytest.mark.parametrize("v6only", [0, 1])
@pytest.mark.parametrize("interface", INTERFACES)
def test_the_attack_is_real(wire: Wire, interface: str, v6only: int) -> None:
    if skip_if_unreachable(wire, interface):
        interface = "::"
    with wire.host.entered():
        plain = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        victim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        victim.bind(("127.0.0.1", VICTIM))
    with plain, victim:
        plain.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        plain.bind((interface, 0))
        plain.settimeout(20)
        victim.settimeout(20)
        to = destination(wire, interface)
        wire.write(udp_over_ipv6("::ffff:127.0.0.1", VICTIM, to, plain.getsockname()[1], b"forged"))
        data, source = plain.recvfrom(100)
        assert data == b"forged"
        # An adapter that looks at the source alone tells the application this.
        assert unmap(source) == ("127.0.0.1", VICTIM)
        if interface == "::" and not v6only:
            plain.sendto(b"reflected", source)
            assert victim.recv(100) == b"reflected"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("interface", INTERFACES)
def test_a_forged_datagram_never_reaches_the_protocol(
    reactor: Reactor, wire: Wire, interface: str, way: str
) -> None:
    if skip_if_unreachable(wire, interface):
        interface = "::"
    logged: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        logged.append(formatEventAsClassicLogText(event) or "")

    globalLogPublisher.addObserver(observe)
    echo = Echo()
    with listening(wire.host, reactor, echo, interface, way=way) as port:
        victim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        victim.bind(("127.0.0.1", VICTIM))
        genuine = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        number = port.getHost().port
        to = destination(wire, interface)
        with victim, genuine:
            for claimed in ("127.0.0.1", "10.1.0.1", "192.0.2.1", "255.255.255.255"):
                wire.write(udp_over_ipv6(f"::ffff:{claimed}", VICTIM, to, number, b"forged"))
            genuine.bind(("fd00:1::1" if interface != "::1" else "::1", 0))
            genuine.sendto(b"genuine", ("fd00:1::1" if interface != "::1" else "::1", number))
            reactor.until(lambda: counters(port).get("forged") == 4 and echo.got)
            assert [data for data, _ in echo.got] == [b"genuine"]
            victim.setblocking(False)
            with pytest.raises(BlockingIOError):
                victim.recv(100)
        assert counters(port) == {"received": 1, "forged": 4}
        complaints = [line for line in logged if "claims an IPv4 sender" in line]
        assert len(complaints) == 1
        assert f"from 127.0.0.1:{VICTIM}, sent to {to}" in complaints[0]
        assert not [line for line in logged if "::ffff" in line]
    globalLogPublisher.removeObserver(observe)


@pytest.mark.parametrize("way", WAYS)
def test_a_mapped_destination_on_the_wire_is_no_way_in(
    reactor: Reactor, wire: Wire, way: str
) -> None:
    echo = Echo()
    with listening(wire.host, reactor, echo, way=way) as port:
        genuine = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        number = port.getHost().port
        with genuine:
            for source in ("::ffff:127.0.0.1", "::ffff:192.0.2.1", "fd00:1::7"):
                for to in ("::ffff:127.0.0.1", "::ffff:10.1.0.1"):
                    wire.write(udp_over_ipv6(source, VICTIM, to, number, b"forged"))
            genuine.sendto(b"genuine", ("127.0.0.1", number))
            reactor.until(lambda: echo.got)
            assert [data for data, _ in echo.got] == [b"genuine"]


MAPPED: dict[str, Callable[[Namespace], object]] = {
    "route": lambda host: host.run("ip", "route", "add", "local", "::ffff:0:0/96", "dev", "lo"),
    "address": lambda host: host.add_addresses("lo", "::ffff:192.0.2.1/128"),
}
"""How a machine comes to hold a mapped address as an IPv6 one."""


@pytest.mark.parametrize("held", MAPPED)
def test_the_attack_by_a_mapped_destination_is_real(wire: Wire, held: str) -> None:
    MAPPED[held](wire.host)
    with wire.host.entered():
        plain = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with plain:
        plain.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        plain.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        plain.bind(("::", 0))
        plain.settimeout(20)
        to = plain.getsockname()[1]
        wire.write(
            udp_over_ipv6("::ffff:127.0.0.1", VICTIM, "::ffff:192.0.2.1", to, b"forged"),
        )
        data, [(_, _, info)], _, source = plain.recvmsg(100, 100)
        assert data == b"forged"
        # Source and the destination in IPv6's packet information are both mapped.
        assert unmap(source) == ("127.0.0.1", VICTIM)
        assert info[:16] == socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.1")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("held", MAPPED)
def test_a_mapped_destination_makes_nothing_genuine(
    reactor: Reactor, wire: Wire, held: str, way: str
) -> None:
    MAPPED[held](wire.host)
    echo = Echo()
    with listening(wire.host, reactor, echo, way=way) as port:
        victim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        victim.bind(("127.0.0.1", VICTIM))
        number = port.getHost().port
        with victim, peer("127.0.0.1") as genuine:
            claimed = ["::ffff:127.0.0.1", "::ffff:10.1.0.1", "::ffff:192.0.2.9", "fd00:1::7"]
            for source in claimed:
                wire.write(udp_over_ipv6(source, VICTIM, "::ffff:192.0.2.1", number, b"forged"))
            genuine.sendto(b"genuine", ("127.0.0.1", number))
            reactor.until(lambda: counters(port).get("forged") == len(claimed) and echo.got)
            assert echo.got == [(b"genuine", genuine.getsockname())]
            assert genuine.recv(100) == b"genuine"
            victim.setblocking(False)
            with pytest.raises(BlockingIOError):
                victim.recv(100)
        assert counters(port) == {"received": 1, "translated": 1, "forged": len(claimed)}


@pytest.mark.parametrize("interface", ["::", "fd00:1::1"])
def test_a_forged_SYN_makes_no_connection(wire: Wire, interface: str) -> None:
    with wire.host.entered():
        listener = open_listening_socket(ListenPolicy(interface, 0))
        genuine = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    with listener, genuine:
        number = listener.getsockname()[1]
        for claimed in ("127.0.0.1", "10.1.0.1", "192.0.2.1"):
            wire.write(syn_over_ipv6(f"::ffff:{claimed}", VICTIM, "fd00:1::1", number))
        genuine.connect(("fd00:1::1", number))
        listener.settimeout(20)
        accepted, address = listener.accept()
        accepted.close()
        assert address[0] == "fd00:1::1"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
        # The frames are fit for it: one with a native source does begin a connection.
        wire.write(syn_over_ipv6("fd00:1::9", VICTIM, "fd00:1::1", number))
        [row] = wire.host.run(
            "ss", "-Htan", "state", "syn-recv", f"( sport = :{number} )"
        ).splitlines()
        assert f"[fd00:1::9]:{VICTIM}" in row


@pytest.mark.parametrize("way", WAYS)
def test_senders_that_can_not_be_answered_are_dropped(
    reactor: Reactor, wire: Wire, way: str
) -> None:
    echo = Echo()
    with listening(wire.host, reactor, echo, way=way) as port:
        wire.host.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")
        number = port.getHost().port
        remote4 = "127.0.0.9" if wire.interface == "lo" else "10.1.0.9"
        to4 = "127.0.0.1" if wire.interface == "lo" else "10.1.0.1"
        to6 = "::1" if wire.interface == "lo" else "fd00:1::1"
        wire.write(udp_over_ipv4(remote4, 0, to4, number, b"port 0"))
        wire.write(udp_over_ipv6("fd00:1::1", 0, to6, number, b"port 0"))
        wire.write(udp_over_ipv4("224.0.0.251", 9, to4, number, b"group"))
        wire.write(udp_over_ipv4("255.255.255.255", 9, to4, number, b"broadcast"))
        wire.write(udp_over_ipv6("ff02::fb", 9, to6, number, b"group"))
        with peer("::1") as genuine:
            genuine.sendto(b"genuine", ("::1", number))
            reactor.until(lambda: echo.got)
        assert [data for data, _ in echo.got] == [b"genuine"]
        # Linux itself drops the groups; the ports are left to the socket.
        assert counters(port)["unanswerable"] >= 1
        assert counters(port)["received"] == 1
