"""``AddressSet``: one answer for every spelling, against ``ipaddress``; what is no rule."""

from __future__ import annotations

import copy
import ipaddress
import pickle
import re
from bisect import bisect_right
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.windows import pure_and_long
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from dsadapter.addressing import AddressSet, map_ipv4

# Few enough bits for rules to overlap, to touch, and to reach the ends of a family.
near_ipv4 = st.sampled_from([0, 0x0A000000, 0xC0000200, 0xFFFFFF00]).flatmap(
    lambda base: st.integers(base, base + 0xFF).map(ipaddress.IPv4Address)
)
near_ipv6 = st.sampled_from(
    [0, 0xFFFF << 32, 0x20010DB8 << 96, 0xFE80 << 112, 2**128 - 0x100]
).flatmap(lambda base: st.integers(base, base + 0xFF).map(ipaddress.IPv6Address))
addresses = near_ipv4 | near_ipv6 | st.ip_addresses()


def canonical(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Any:
    return address if address.version == 4 else address.ipv4_mapped or address


@st.composite
def networks(draw: st.DrawFn) -> Any:
    address = draw(addresses)
    below = draw(st.integers(0, 9) | st.integers(0, address.max_prefixlen))
    length = address.max_prefixlen - min(below, address.max_prefixlen)
    return ipaddress.ip_network((address, length), strict=False)


def holds(network: Any, address: Any) -> bool:
    """By ``ipaddress``, of canonical addresses."""
    inside = network.network_address.ipv4_mapped if network.version == 6 else None
    if inside is not None and network.prefixlen >= 96:
        network = ipaddress.ip_network((inside, network.prefixlen - 96))
    return canonical(address) in network


def spellings(address: Any) -> list[Any]:
    """What programs hold for one address."""
    forms: list[Any] = []
    plain = canonical(address)
    if plain.version == 6:
        text = str(plain)
        forms += [text, text.upper(), plain.exploded, plain.packed, plain]
        forms += [(text, 80), (text, 80, 7, 3), IPv6Address("TCP", text, 80)]
        return forms
    text = str(plain)
    mapped = ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + plain.packed)
    forms += [text, plain.packed, plain, (text, 80), IPv4Address("TCP", text, 80)]
    forms += [f"::ffff:{text}", f"::FFFF:{text}", f"0:0:0:0:0:ffff:{text}", mapped.exploded]
    forms += [mapped.packed, mapped, (f"::ffff:{text}", 80, 0, 0), (mapped.exploded, 80, 5, 0)]
    forms += [IPv6Address("TCP", f"::ffff:{text}", 80)]
    return forms


@given(st.lists(networks(), max_size=12), st.lists(addresses, min_size=1, max_size=12))
def test_it_answers_as_a_loop_over_ipaddress_for_every_spelling(
    rules: list[Any], asked: list[Any]
) -> None:
    made = AddressSet(map(str, rules))
    assert made == AddressSet(rules)
    for rule in rules:
        asked += [rule[0], rule[-1]]
    for address in asked:
        expected = any(holds(rule, address) for rule in rules)
        assert {form in made for form in spellings(address)} == {expected}, address


@given(st.lists(networks(), max_size=12))
def test_iterating_gives_the_fewest_networks_and_the_same_set(rules: list[Any]) -> None:
    made = AddressSet(rules)
    listed = list(made)
    assert AddressSet(listed) == made
    plain = [ipaddress.ip_network(text) for text in AddressSet(rules)]
    for version in (4, 6):
        family = [network for network in plain if network.version == version]
        assert list(ipaddress.collapse_addresses(family)) == family
    assert bool(made) == bool(listed)


@given(st.lists(networks(), max_size=8), st.lists(networks(), max_size=8))
def test_union_is_the_set_of_all_rules(some: list[Any], others: list[Any]) -> None:
    one, other = AddressSet(some), AddressSet(others)
    together = AddressSet([*some, *others])
    assert one | other == one.union(other) == one.union(map(str, others)) == together
    assert one.union() == one == AddressSet(some)
    assert hash(one | other) == hash(together)


@given(st.lists(networks(), max_size=8))
def test_it_survives_pickle_and_copy(rules: list[Any]) -> None:
    made = AddressSet(rules)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(made, protocol)) == made
    assert copy.deepcopy(made) == copy.copy(made) == made


# Where the rules of a long list are: all over a family, or all in one network.
CROWDS = {
    "ipv4": (32, 0, 0, (8, 16, 23, 24, 25, 32)),
    "ipv4-one-network": (32, 0x0A000000, 8, (20, 24, 30, 32)),
    "ipv6": (128, 0x2000 << 112, 3, (20, 32, 47, 48, 49, 64, 128)),
    "ipv6-one-site": (128, 0x20010DB8 << 96, 48, (56, 64, 65, 128)),
    "ipv6-one-link": (128, 0x20010DB8 << 96, 64, (112, 127, 128)),
    "ipv6-end": (128, 0xF << 124, 4, (18, 26, 28, 128)),
}


@pure_and_long
@pytest.mark.parametrize("crowd", CROWDS)
def test_a_long_list_answers_right_around_every_end_of_its_rules(crowd: str) -> None:
    bits, base, prefix, lengths = CROWDS[crowd]
    random = Random(crowd)
    made = ipaddress.IPv4Address if bits == 32 else ipaddress.IPv6Address
    ranges = []
    for number in range(8000):
        # Short prefixes are few, as in real lists.
        length = lengths[-1 - number % 3] if number % 50 else random.choice(lengths)
        first = base | random.getrandbits(bits - prefix)
        first = first >> bits - length << bits - length
        if first < base:
            continue
        ranges.append((first, first + (1 << bits - length)))
    # One that reaches to the end of the family.
    ranges.append(((1 << bits) - (1 << bits - lengths[1]), 1 << bits))
    rules = [ipaddress.ip_network((f, bits - (b - f).bit_length() + 1)) for f, b in ranges]
    made_set = AddressSet(rules)
    merged: list[int] = []
    for first, behind in sorted(ranges):
        if merged and first <= merged[-1]:
            merged[-1] = max(merged[-1], behind)
        else:
            merged += first, behind
    asked = {0, (1 << bits) - 1}
    for edge in merged:
        asked |= {edge - 1, edge, edge + 1}
    asked |= {base | random.getrandbits(bits - prefix) for _ in range(2000)}
    for number in asked:
        if 0 <= number < 1 << bits and (bits == 32 or number >> 32 != 0xFFFF):
            expected = bisect_right(merged, number) & 1 == 1
            assert (made(number).packed in made_set) == expected, made(number)
    assert len(merged) > 4096


def test_a_long_list_answers_as_a_short_one() -> None:
    rules = [f"10.{a}.{b}.128/25" for a in range(40) for b in range(256)]
    rules += [f"2001:db8:{n:x}::/48" for n in range(0, 20_000, 2)]
    made = AddressSet(rules)
    for a in range(42):
        for b in (0, 1, 128, 254, 255):
            assert (f"10.{a}.{b}.128" in made) == (f"::ffff:10.{a}.{b}.255" in made) == (a < 40)
            assert f"10.{a}.{b}.0" not in made
            assert f"10.{a}.{b}.127" not in made
    for n in range(0, 20_001, 7):
        assert (f"2001:db8:{n:x}:ffff::1" in made) == (n % 2 == 0 and n < 20_000)
    for outside in ("0.0.0.0", "9.255.255.255", "11.0.0.0", "255.255.255.255", "::", "2001:db7::"):
        assert outside not in made


@pytest.mark.parametrize(
    ("rule", "meant"),
    [
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::FFFF:a00:0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::ffff:192.0.2.1/128", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        (ipaddress.IPv6Network("::ffff:10.0.0.0/104"), "10.0.0.0/8"),
        (ipaddress.IPv6Address("::ffff:10.0.0.1"), "10.0.0.1"),
        (bytes(10) + b"\xff\xff\x0a\0\0\x01", "10.0.0.1"),
        (b"\x0a\0\0\x01", "10.0.0.1"),
        ("192.0.2.7/32", "192.0.2.7"),
        ("2001:0db8::0/32", "2001:db8::/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_a_mapped_rule_means_ipv4(rule: Any, meant: str) -> None:
    assert list(AddressSet([rule])) == [meant]


def test_all_of_ipv6_is_no_ipv4() -> None:
    everything = AddressSet(["::/0"])
    assert "2001:db8::1" in everything
    assert "::192.0.2.1" in everything
    assert "192.0.2.1" not in everything
    assert "::ffff:192.0.2.1" not in everything


def test_a_zone_plays_no_part() -> None:
    links = AddressSet(["fe80::/10"])
    assert "fe80::1%eth0" in links
    assert ("fe80::1", 80, 0, 2) in links
    assert ipaddress.IPv6Address("fe80::1%2") in links


NO_RULES = [
    ("10.0.0.1/8", "bits set", "10.0.0.0/8"),
    ("::ffff:10.0.0.1/104", "bits set", "10.0.0.0/8"),
    ("2001:db8::1/32", "bits set", "2001:db8::/32"),
    ("10.0.0.0/33", "0 to 32", "10.0.0.0"),
    ("2001:db8::/129", "0 to 128", "2001:db8::"),
    ("::ffff:10.0.0.0/8", "96 to 128", "10.0.0.0/8"),
    ("::ffff:10.0.0.0/24", "96 to 128", "10.0.0.0/24"),
    ("::ffff:10.0.0.0/129", "96 to 128", "10.0.0.0"),
    ("10.0.0.0/", "no prefix length", "10.0.0.0"),
    ("/24", "no address", "10.0.0.0/8"),
    ("10.0.0.0/255.0.0.0", "for a prefix length", "10.0.0.0"),
    ("10.0.0.0/08", "for a prefix length", "10.0.0.0"),
    ("10.0.0.0/+8", "for a prefix length", "10.0.0.0"),
    ("10.0.0.0/ 8", "for a prefix length", "10.0.0.0"),
    ("10.0.0.0/8/8", "for a prefix length", "10.0.0.0"),
    ("10.0.0.0/\u0668", "for a prefix length", "10.0.0.0"),
    ("10.0.0.0/" + "9" * 10_000, "for a prefix length", "10.0.0.0"),
    ("fe80::1%eth0", "zone id", "fe80::1"),
    ("10.0.0", "not an address literal", "192.0.2.1"),
    ("localhost", "not an address literal", "192.0.2.1"),
    ("10.0.0.0-10.0.0.255", "not an address literal", "192.0.2.1"),
    (" 10.0.0.0/8", "not an address literal", "192.0.2.1"),
    ("", "not an address literal", "192.0.2.1"),
    ("[2001:db8::]/32", "brackets", None),
    ("010.0.0.0/8", "octal", "10.0.0.0"),
    ("10.0.0.0\x00/8", "can't be printed", None),
    ("10.0.0.0/8\n", "for a prefix length", "10.0.0.0"),
    ("::ffff:10.0.0.1%eth0", "zone id", "10.0.0.1"),
    (b"::ffff:127.0.0.1", "decode it first", "::ffff:127.0.0.1"),
    (b"10.0.0.0/8", "pass address text as str", None),
]


@pytest.mark.parametrize(("rule", "problem", "remedy"), NO_RULES)
def test_what_is_no_rule_is_named_with_a_remedy_that_is_one(
    rule: Any, problem: str, remedy: str | None
) -> None:
    with pytest.raises(ValueError) as caught:
        AddressSet(["192.0.2.0/24", rule, "2001:db8::/32"])
    text = str(caught.value)
    assert text.startswith(f"rule {rule[:90]!r}"[:90])
    assert problem in text
    assert len(text) < 600
    assert text.isprintable()
    if remedy is not None:
        assert repr(remedy) in text
        assert AddressSet([remedy])


@pytest.mark.parametrize(
    "rule",
    [
        None,
        7,
        ["10.0.0.0/8"],
        ("10.0.0.1", 80),
        IPv4Address("TCP", "10.0.0.1", 80),
        UNIXAddress("/run/x"),
        ipaddress.ip_interface("10.0.0.1/8"),
        bytearray(4),
    ],
)
def test_other_types_are_no_rules(rule: Any) -> None:
    with pytest.raises(TypeError, match=r"^rule "):
        AddressSet([rule])


@pytest.mark.parametrize("rules", ["10.0.0.0/8", "10.0.0.0/8,::1", b"\x0a\0\0\1", ""])
def test_one_text_is_no_list(rules: Any) -> None:
    with pytest.raises(ValueError, match=re.escape("write ['10.0.0.0/8', '::1']")):
        AddressSet(rules)


@pytest.mark.parametrize(
    "address",
    [
        "example.com",
        "",
        "127.1",
        "2130706433",
        "010.0.0.1",
        "[::1]",
        "10.0.0.0/8",
        " 10.0.0.1",
        "10.0.0.1\x00",
        "::ffff:10.0.0.1%eth0",
        ("::ffff:10.0.0.1", 80, 0, 2),
        ("10.0.0.1",),
        ("10.0.0.1", 80, 0, 0, 0),
        (b"\x0a\0\0\1", 80),
        ("example.com", 80),
        (),
        b"10.0.0.1",
        b"::ffff:127.0.0.1",
        ipaddress.IPv6Address("::ffff:10.0.0.1%2"),
    ],
)
def test_what_is_no_address_has_no_answer(address: Any) -> None:
    for made in (AddressSet(), AddressSet(["0.0.0.0/0", "::/0"])):
        with pytest.raises(ValueError):
            _ = address in made


@pytest.mark.parametrize("address", [None, 7, ipaddress.ip_network("10.0.0.0/8"), ["10.0.0.1"]])
def test_other_types_have_no_answer(address: Any) -> None:
    with pytest.raises(TypeError, match="is not an address"):
        _ = address in AddressSet(["10.0.0.0/8"])


def test_repr_is_short_and_whole_where_it_can_be() -> None:
    assert repr(AddressSet()) == "AddressSet([])"
    few = AddressSet(["::1", "10.0.0.1/32", "10.0.0.0/32"])
    assert repr(few) == "AddressSet(['10.0.0.0/31', '::1'])"
    many = AddressSet([f"10.0.{n}.1" for n in range(256)])
    assert repr(many) == "AddressSet(['10.0.0.1', '10.0.1.1', '10.0.2.1', '10.0.3.1', ...])"


def test_sets_compare_by_what_they_hold() -> None:
    assert AddressSet(["10.0.0.0/9", "10.128.0.0/9"]) == AddressSet(["10.0.0.0/8"])
    assert AddressSet(["10.0.0.0/8"]) != AddressSet(["10.0.0.0/9"])
    assert AddressSet(["10.0.0.0/8"]) != ["10.0.0.0/8"]
    assert not AddressSet()
    with pytest.raises(TypeError):
        _ = AddressSet() | ["10.0.0.0/8"]


@given(st.ip_addresses(v=4))
def test_mapping_never_changes_the_answer(address: ipaddress.IPv4Address) -> None:
    private = AddressSet(["10.0.0.0/8", "127.0.0.0/8", "::1", "fc00::/7"])
    text = str(address)
    assert (text in private) == (map_ipv4(text) in private) == (map_ipv4(address) in private)
