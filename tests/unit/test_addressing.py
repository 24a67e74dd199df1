"""Map, unmap, recognize: every form of an address, against ``ipaddress`` and ``inet_pton``."""

from __future__ import annotations

import ipaddress
import socket
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from dsadapter.addressing import is_mapped, map_ipv4, unmap
from dsadapter.addressing.literal import parse_literal

ipv4_addresses = st.ip_addresses(v=4)
ipv6_addresses = st.ip_addresses(v=6)
any_ipv6 = ipv6_addresses | ipv4_addresses.map(
    lambda a: ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + a.packed)
)
ports = st.integers(0, 65535)

LEGAL_SPELLINGS = [
    "::ffff:192.0.2.1",
    "::FFFF:192.0.2.1",
    "::ffff:c000:201",
    "::FfFf:C000:0201",
    "0:0:0:0:0:ffff:192.0.2.1",
    "0:0:0:0:0:ffff:c000:201",
    "0000:0000:0000:0000:0000:ffff:c000:0201",
    "0::ffff:192.0.2.1",
    "::0:ffff:c000:201",
]

NOT_MAPPED = [
    "::192.0.2.1",  # IPv4-compatible
    "::ffff:0:192.0.2.1",  # IPv4-translated
    "64:ff9b::192.0.2.1",  # NAT64
    "::ffff",
    "::fffe:192.0.2.1",
    "::1:ffff:192.0.2.1",
    "::",
    "::1",
    "2001:db8::1",
    "2002:c000:201::",
    "fe80::1%eth0",
    "192.0.2.1",
    "example.com",
    "ffff.example.com",
    "::ffff:example.com",
    "::ffff:1.2.3",
    "::ffff:1.2.3.4:80",
    "::ffff:\u0661.2.3.4",
    "1.2.3.4.5",
    "127.1",
    "2130706433",
    "",
]

AMBIGUOUS = [
    ("::ffff:192.0.2.1%eth0", "'192.0.2.1'"),
    ("::FFFF:c000:201%1", "'192.0.2.1'"),
    ("::ffff:192.0.2.1%", "'192.0.2.1'"),
    ("010.0.0.1", "'10.0.0.1'"),
    ("192.0.02.1", "'192.0.2.1'"),
    ("::ffff:010.0.0.1", "'::ffff:10.0.0.1'"),
    ("::ffff:1.2.3.00", "'::ffff:1.2.3.0'"),
    ("2001:db8::1.2.3.04", "'2001:db8::1.2.3.4'"),
    ("[::ffff:192.0.2.1]", "brackets"),
    ("[::1]", "brackets"),
    ("::ffff:1.2.3.4\x00", "leave them out"),
    ("::ffff:1.2.3.4\ud800", "leave them out"),
    ("127.0.0.1\n", "leave them out"),
    ("fe80::1%", "'fe80::1%eth0'"),
    ("::1%lo", "'::1'"),
    ("fe80::1%" + "z" * 64, "'fe80::1%eth0'"),
]


@pytest.mark.parametrize("text", LEGAL_SPELLINGS)
def test_unmap_takes_every_legal_spelling(text: str) -> None:
    assert unmap(text) == "192.0.2.1"
    assert is_mapped(text)


@pytest.mark.parametrize("text", NOT_MAPPED)
def test_unmap_returns_other_text_as_the_same_object(text: str) -> None:
    assert unmap(text) is text
    assert not is_mapped(text)


@pytest.mark.parametrize(("text", "remedy"), AMBIGUOUS)
@pytest.mark.parametrize("function", [unmap, is_mapped, map_ipv4])
def test_ambiguous_text_is_refused_with_the_remedy(function, text: str, remedy: str) -> None:
    with pytest.raises(ValueError) as caught:
        function(text)
    assert repr(text) in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "example.com", "127.1", "0x7f.1", "0177.1", "2130706433", " 192.0.2.1", "1.2.3.256"],
)
@pytest.mark.parametrize("place", [str, lambda text: (text, 80), lambda text: (text, 80, 0, 0)])
def test_map_refuses_text_that_is_no_literal(text: str, place: Any) -> None:
    with pytest.raises(ValueError, match="is not an address literal"):
        map_ipv4(place(text))


@given(ipv4_addresses)
def test_map_and_unmap_are_inverse_in_every_form(address: ipaddress.IPv4Address) -> None:
    mapped = ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
    text = str(address)
    forms = [
        (text, f"::ffff:{text}"),
        (address.packed, mapped.packed),
        (address, mapped),
        ((text, 80), (f"::ffff:{text}", 80, 0, 0)),
        (IPv4Address("TCP", text, 80), IPv6Address("TCP", f"::ffff:{text}", 80)),
        (IPv4Address("UDP", text, 80), IPv6Address("UDP", f"::ffff:{text}", 80)),
    ]
    for plain, wire in forms:
        assert map_ipv4(plain) == wire
        assert type(map_ipv4(plain)) is type(wire)
        assert unmap(wire) == plain
        assert type(unmap(wire)) is type(plain)
        assert map_ipv4(wire) is wire
        assert unmap(plain) is plain
        assert is_mapped(wire)
        assert not is_mapped(plain)


@given(any_ipv6)
def test_unmap_agrees_with_ipaddress(address: ipaddress.IPv6Address) -> None:
    expected = address.ipv4_mapped
    assert is_mapped(address) == (expected is not None)
    if expected is None:
        assert unmap(address) is address
    else:
        assert unmap(address) == expected


@given(any_ipv6, st.sampled_from(["compressed", "exploded", "upper", "libc", "dotted"]))
def test_text_agrees_with_inet_pton(address: ipaddress.IPv6Address, spelling: str) -> None:
    tail = ipaddress.IPv4Address(address.packed[12:])
    head = address.exploded[:30]
    text = {
        "compressed": address.compressed,
        "exploded": address.exploded,
        "upper": address.exploded.upper(),
        "libc": socket.inet_ntop(socket.AF_INET6, address.packed),
        "dotted": f"{head}{tail}",
    }[spelling]
    assert socket.inet_pton(socket.AF_INET6, text) == address.packed
    assert unmap(text) == (str(tail) if address.ipv4_mapped else text)


@given(st.text(alphabet="0123456789abcdefABCDEF:.%[]xX ", max_size=45))
@example("::ffff:1.2.3.4%")
@example("::ffff:1..2.3")
def test_unmap_never_leaves_a_mapped_address(text: str) -> None:
    try:
        result = unmap(text)
    except ValueError:
        return
    try:
        packed = socket.inet_pton(socket.AF_INET6, result.partition("%")[0])
    except OSError:
        return
    assert packed[:12] != b"\0" * 10 + b"\xff\xff"


octets = st.integers(0, 300).flatmap(
    lambda number: st.sampled_from([f"{number}", f"{number}", f"0{number}", f"00{number}"])
)
dotted = st.lists(octets, min_size=3, max_size=5).map(".".join)
nearly_addresses = st.one_of(
    dotted,
    st.tuples(
        st.sampled_from(["::", "::ffff:", "64:ff9b::", "::ffff:0:", "1:2:3:4:5:6:"]), dotted
    ).map("".join),
    st.lists(st.text("0123456789abcdefF", max_size=6), min_size=2, max_size=9).map(":".join),
)


@given(nearly_addresses)
@example("::ffff:010.0.0.1")
@example("010.0.0.1")
@example("::00001")
def test_no_text_is_an_address_that_ipaddress_refuses(text: str) -> None:
    """Whatever the ``inet_pton`` of the platform takes: Wine's takes leading zeros."""
    try:
        expected: ipaddress.IPv4Address | ipaddress.IPv6Address | None = ipaddress.ip_address(text)
    except ValueError:
        expected = None
    try:
        found = parse_literal(text)
    except ValueError:
        assert expected is None
        return
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert found.packed == expected.packed.removeprefix(bytes(10) + b"\xff\xff")


@given(st.binary(max_size=20))
def test_bytes_are_packed_or_refused(packed: bytes) -> None:
    if len(packed) not in (4, 16):
        with pytest.raises(ValueError, match="is not a packed address"):
            unmap(packed)
    elif len(packed) == 4:
        assert unmap(packed) is packed
        assert map_ipv4(packed)[12:] == packed


@pytest.mark.parametrize(
    "text", ["::ffff:127.0.0.1", "2001:db8::2:3:4a", "FE80::1:2:3:4:55", "fe80::1%ethernet"]
)
@pytest.mark.parametrize("function", [unmap, is_mapped, map_ipv4])
def test_16_bytes_of_address_text_are_refused(function, text: str) -> None:
    encoded = text.encode()
    assert len(encoded) == 16
    with pytest.raises(ValueError, match="address text in bytes"):
        function(encoded)


@pytest.mark.parametrize(
    "packed", [b"::::::::::::::::", b"\xff" * 16, b"a:b:c:d:e:f:g:h:", bytes(16)]
)
def test_16_bytes_that_only_look_like_text_are_packed(packed: bytes) -> None:
    assert unmap(packed) is packed


@given(any_ipv6, ports, st.integers(0, 2**20 - 1))
def test_sockaddr(address: ipaddress.IPv6Address, port: int, flow_info: int) -> None:
    host = socket.inet_ntop(socket.AF_INET6, address.packed)
    for given_ in ((host, port), (host, port, flow_info), (host, port, flow_info, 0)):
        if address.ipv4_mapped:
            assert unmap(given_) == (str(address.ipv4_mapped), port)
        else:
            assert unmap(given_) is given_


def test_scope_id_and_flow_info_of_native_ipv6_survive() -> None:
    for address in (
        ("fe80::1", 80, 7, 3),
        ("fe80::1%eth0", 80, 0, 3),
        IPv6Address("TCP", "fe80::1%eth0", 80, 7, 3),
        ipaddress.IPv6Address("fe80::1%eth0"),
    ):
        assert unmap(address) is address
        assert map_ipv4(address) is address


@pytest.mark.parametrize(
    "address",
    [
        ("::ffff:192.0.2.1", 80, 0, 3),
        IPv6Address("TCP", "::ffff:192.0.2.1", 80, 0, 3),
        ipaddress.IPv6Address("::ffff:192.0.2.1%eth0"),
    ],
)
@pytest.mark.parametrize("function", [unmap, is_mapped, map_ipv4])
def test_a_mapped_address_with_a_scope_id_is_refused(function, address) -> None:
    with pytest.raises(ValueError, match="scope id"):
        function(address)


@pytest.mark.parametrize(
    "address", [(), ("::1",), (b"::1", 80), (80, "::1"), ("::1", 80, 0, 0, 0), (None, 80, 0, 0)]
)
@pytest.mark.parametrize("function", [unmap, is_mapped, map_ipv4])
def test_a_tuple_that_is_no_socket_address_is_refused(function, address) -> None:
    with pytest.raises(ValueError, match="is not a socket address"):
        function(address)


@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        bytearray(4),
        ["::1", 80],
        ipaddress.ip_network("::ffff:192.0.2.0/120"),
        ipaddress.ip_interface("::ffff:192.0.2.1/120"),
        ipaddress.ip_interface("192.0.2.1/24"),
        UNIXAddress(b"/tmp/socket"),
    ],
)
@pytest.mark.parametrize("function", [unmap, is_mapped, map_ipv4])
def test_other_types_are_refused(function, value) -> None:
    with pytest.raises(TypeError, match="is not an address; give"):
        function(value)


def test_addressing_imports_neither_ipaddress_nor_a_framework() -> None:
    program = (
        "import sys; from dsadapter.addressing import unmap; unmap(('::ffff:192.0.2.1', 1, 0, 0));"
        "print(*sorted({'ipaddress', 'twisted', 'zope.interface', 'pluggy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
