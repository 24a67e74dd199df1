"""Control messages of datagrams: whole, cut, doubled, out of order, and hostile."""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsadapter.packetinfo import _bsd, _cmsg, _darwin, _linux, _unsupported
from dsadapter.packetinfo._cmsg import IPv4Message, read, reason_to_distrust
from dsadapter.sockets.control_messages import Message, split

IP, IPV6 = int(socket.IPPROTO_IP), int(socket.IPPROTO_IPV6)
PLATFORMS = [_linux, _darwin, _bsd, _unsupported]
NONE = bytes(4)

ipv4 = st.ip_addresses(v=4).map(lambda address: address.packed)
ipv6 = st.ip_addresses(v=6).map(lambda address: address.packed)
own_ipv4 = ipv4.filter(lambda packed: any(packed))
native = ipv6.filter(lambda p: any(p) and not p.startswith(bytes(10) + b"\xff\xff"))
index = st.integers(1, 2**31 - 1)
octet = st.integers(0, 255)
anything = st.lists(
    st.tuples(
        st.sampled_from([IP, IPV6, 1, 255]),
        st.sampled_from([1, 2, 7, 8, 24, 26, 36, 46, 47, 50, 52, 61, 67, 68, 99]),
        st.binary(max_size=40),
    ),
    max_size=8,
)


def mapped(packed: bytes) -> bytes:
    return bytes(10) + b"\xff\xff" + packed


def join(messages: list[Message]) -> bytes:
    """A control buffer as Linux and Winsock write it, on 64 bits (``cmsg(3)``)."""
    buffer = b""
    for level, kind, data in messages:
        header = struct.pack("=QII", 16 + len(data), level, kind)
        buffer += (header + data).ljust(16 + -(-len(data) // 8) * 8, b"\0")
    return buffer


def for_ipv4(
    destination: bytes, source: bytes, interface: int, ttl: int = 64, tos: int = 0
) -> list[Message]:
    return [
        (IPV6, 50, mapped(destination) + struct.pack("@I", interface)),
        (IP, 8, struct.pack("@I", interface) + source + destination),
        (IP, 2, struct.pack("@i", ttl)),
        (IP, 1, bytes([tos])),
    ]


def for_ipv6(destination: bytes, interface: int, hops: int = 64, tclass: int = 0) -> list[Message]:
    return [
        (IPV6, 50, destination + struct.pack("@I", interface)),
        (IPV6, 52, struct.pack("@i", hops)),
        (IPV6, 67, struct.pack("@i", tclass)),
    ]


def linux(messages: list[Message]) -> _cmsg.Arrival | None:
    return read(messages, _linux.DECODERS)


@given(anything)
def test_messages_come_out_of_a_buffer_as_they_went_in(messages: list[Message]) -> None:
    assert split(join(messages)) == messages


@given(anything, st.data())
def test_a_buffer_that_is_cut_anywhere_gives_whole_messages_or_none(
    messages: list[Message], data: st.DataObject
) -> None:
    buffer = join(messages)
    cut = buffer[: data.draw(st.integers(0, len(buffer)))]
    found = split(cut)
    assert found == messages[: len(found)]


@given(st.binary(max_size=400))
def test_any_bytes_are_split_and_read_without_an_error(buffer: bytes) -> None:
    for platform in PLATFORMS:
        read(split(buffer), platform.DECODERS)


@given(anything)
def test_any_messages_are_read_without_an_error(messages: list[Message]) -> None:
    for platform in PLATFORMS:
        arrival = read(messages, platform.DECODERS)
        if arrival is not None:
            assert len(arrival.destination) in (4, 16)
            assert any(arrival.destination)
            assert not arrival.destination.startswith(mapped(b""))
            assert arrival.source is None or len(arrival.source) == len(arrival.destination)


@given(own_ipv4, index, st.randoms())
def test_only_IPv4s_own_message_makes_a_mapped_source_genuine(
    destination: bytes, interface: int, random: Any
) -> None:
    real = for_ipv4(destination, destination, interface)
    # What an IPv6 packet to a mapped address that the machine holds brings.
    forged = for_ipv6(mapped(destination), interface)
    random.shuffle(real)
    random.shuffle(forged)
    for messages, always, not_asked_for in (
        (real, None, None),
        (forged, "forged", "without_packet_info"),
    ):
        arrival = linux(messages)
        assert arrival is not None
        assert arrival.destination == destination
        assert reason_to_distrust(True, arrival, "always") == always
        assert reason_to_distrust(True, arrival, "not asked for") == not_asked_for
        # Where real IPv4 brings IPv6's message, too, nothing more can be told.
        assert reason_to_distrust(True, arrival, "never") is None


@given(own_ipv4, native, index)
def test_source_and_destination_are_of_one_family(
    destination: bytes, foreign: bytes, interface: int
) -> None:
    for ipv4_message in get_args(IPv4Message):
        for messages in (
            for_ipv4(destination, destination, interface),
            for_ipv6(mapped(destination), interface),
        ):
            assert reason_to_distrust(False, linux(messages), ipv4_message) == "forged"
        arrival = linux(for_ipv6(foreign, interface))
        assert reason_to_distrust(True, arrival, ipv4_message) == "forged"
        assert reason_to_distrust(False, arrival, ipv4_message) is None
        assert reason_to_distrust(True, None, ipv4_message) == "without_packet_info"
        assert reason_to_distrust(False, None, ipv4_message) is None


def test_a_socket_says_whether_IPv4_brings_its_own_message() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        for module in (_darwin, _bsd, _unsupported):
            assert module.ipv4_message(sock) == "never"
        if sys.platform == "linux":
            assert _linux.ipv4_message(sock) == "not asked for"
            sock.setsockopt(IP, 8, 1)
            assert _linux.ipv4_message(sock) == "always"


@pytest.mark.parametrize("length", [0, 15, 21, 2**31, 2**63])
def test_a_message_that_lies_about_its_length_spoils_the_buffer(length: int) -> None:
    whole = join(for_ipv6(b"\x20\x01" + bytes(13) + b"\x01", 3))
    assert split(whole + struct.pack("@Nii", length, IPV6, 50) + bytes(4)) == []


@given(own_ipv4, index, octet, octet, st.randoms(), st.booleans())
def test_an_IPv4_datagram_in_any_order_and_doubled(
    destination: bytes, interface: int, ttl: int, tos: int, random: Any, double: bool
) -> None:
    messages = for_ipv4(destination, destination, interface, ttl, tos)
    expected = linux(messages)
    assert expected is not None
    assert expected.destination == destination
    assert (expected.interface, expected.hop_limit, expected.traffic_class) == (interface, ttl, tos)
    messages *= 1 + double
    random.shuffle(messages)
    assert linux(messages) == expected


@given(native, index, octet, octet, st.randoms())
def test_an_IPv6_datagram_in_any_order(
    destination: bytes, interface: int, hops: int, tclass: int, random: Any
) -> None:
    messages = for_ipv6(destination, interface, hops, tclass)
    random.shuffle(messages)
    arrival = linux(messages)
    assert arrival is not None
    assert arrival[:2] == (destination, interface)
    assert arrival[4:6] == (hops, tclass)


@given(own_ipv4, index)
def test_either_message_alone_says_that_it_is_IPv4(destination: bytes, interface: int) -> None:
    ipv6s, ipv4s, *_ = for_ipv4(destination, destination, interface)
    for message in (ipv6s, ipv4s):
        arrival = linux([message])
        assert arrival is not None
        assert arrival[:2] == (destination, interface)


@given(own_ipv4, own_ipv4, native, index, st.randoms())
def test_messages_that_contradict_each_other_say_nothing(
    one: bytes, other: bytes, foreign: bytes, interface: int, random: Any
) -> None:
    contradictions = [
        [*for_ipv4(one, one, interface), *for_ipv6(foreign, interface)],
        for_ipv6(foreign, interface)
        + for_ipv6(bytes([foreign[0] ^ 0x40, *foreign[1:]]), interface),
        # One message of each family is enough.
        [*for_ipv4(one, one, interface)[1:2], *for_ipv6(foreign, interface)],
    ]
    if one != other:
        contradictions += [
            for_ipv4(one, one, interface) + for_ipv4(other, other, interface),
            [*for_ipv4(one, one, interface)[1:], *for_ipv6(mapped(other), interface)],
        ]
    for messages in contradictions:
        random.shuffle(messages)
        assert linux(messages) is None


@given(native, index, st.integers(0, 19))
def test_a_cut_message_says_nothing(destination: bytes, interface: int, length: int) -> None:
    [(level, kind, data), *_] = for_ipv6(destination, interface)
    assert linux([(level, kind, data[:length])]) is None
    assert linux([(level, kind, data + b"\0")]) is None


@pytest.mark.parametrize(
    "messages",
    [
        [],
        for_ipv4(NONE, NONE, 0),
        for_ipv6(bytes(16), 0),
        [(IP, 2, struct.pack("@i", 64))],
    ],
)
def test_unspecified_means_unknown(messages: list[Message]) -> None:
    assert linux(messages) is None


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


@pytest.mark.parametrize(
    ("messages", "source", "interface"),
    [
        # Routing decides where the address alone says enough.
        (for_ipv4(packed("192.0.2.1"), packed("192.0.2.1"), 3), "192.0.2.1", 0),
        (for_ipv6(packed("2001:db8::1"), 3), "2001:db8::1", 0),
        (for_ipv4(packed("169.254.1.1"), packed("169.254.1.1"), 3), "169.254.1.1", 3),
        (for_ipv6(packed("fe80::1"), 3), "fe80::1", 3),
        # A group or broadcast is no source; IPv4's message has one.
        (for_ipv4(packed("239.1.2.3"), packed("192.0.2.1"), 3), "192.0.2.1", 3),
        (for_ipv4(packed("192.0.2.255"), packed("192.0.2.1"), 3), "192.0.2.1", 3),
        (for_ipv4(packed("255.255.255.255"), packed("192.0.2.1"), 3), "192.0.2.1", 3),
        (for_ipv4(packed("239.1.2.3"), NONE, 3), None, 3),
        (for_ipv4(packed("239.1.2.3"), NONE, 3)[:1], None, 3),
        (for_ipv6(packed("ff02::fb"), 3), None, 3),
    ],
)
def test_where_an_answer_leaves_from(
    messages: list[Message], source: str | None, interface: int
) -> None:
    arrival = linux(messages)
    assert arrival is not None
    assert arrival.source == (None if source is None else packed(source))
    assert arrival.source_interface == interface


# The structure of what other platforms send and take, from their headers and manual pages.


def test_linux_chooses_a_source_by_the_destinations_family() -> None:
    for family in (socket.AF_INET, socket.AF_INET6):
        assert _linux.source_messages(family, True, b"\x7f\0\0\5", 2) == [
            (IP, 8, struct.pack("@i", 2) + b"\x7f\0\0\5" + NONE)
        ]
    assert _linux.source_messages(socket.AF_INET6, False, bytes(15) + b"\1", 2) == [
        (IPV6, 50, bytes(15) + b"\1" + struct.pack("@i", 2))
    ]


def test_macos_has_the_mapped_address_on_an_IPv6_socket() -> None:
    own = b"\x7f\0\0\5"
    assert _darwin.source_messages(socket.AF_INET6, True, own, 0) == [
        (IPV6, 46, mapped(own) + bytes(4))
    ]
    # An interface alone: '::' would be refused towards IPv4.
    assert _darwin.source_messages(socket.AF_INET6, True, None, 2) == [
        (IPV6, 46, mapped(NONE) + struct.pack("@I", 2))
    ]
    assert _darwin.source_messages(socket.AF_INET, True, own, 0) == [(IP, 26, NONE + own + NONE)]
    arrival = read([(IPV6, 46, mapped(own) + struct.pack("@I", 1))], _darwin.DECODERS)
    assert arrival is not None
    assert arrival[:3] == (own, 1, own)


def test_the_bsds_have_the_destination_alone_on_an_IPv4_socket() -> None:
    own = b"\x7f\0\0\5"
    assert _bsd.source_messages(socket.AF_INET, True, own, 2) == [(IP, 7, own)]
    assert _bsd.source_messages(socket.AF_INET, True, None, 2) == []
    assert _bsd.source_messages(socket.AF_INET6, True, own, 0) == [
        (IPV6, 46, mapped(own) + bytes(4))
    ]
    arrival = read([(IP, 7, own)], _bsd.DECODERS)
    assert arrival is not None
    assert arrival[:3] == (own, 0, own)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_no_choice_is_no_message(platform: Any) -> None:
    for family in (socket.AF_INET, socket.AF_INET6):
        for is_ipv4 in (True, False):
            assert platform.source_messages(family, is_ipv4, None, 0) == []
