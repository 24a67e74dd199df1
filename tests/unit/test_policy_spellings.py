"""A policy shows an address in one spelling, whatever the user's."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.spellings import EVERY, LOOPBACK

from dsadapter.policy import ConnectPolicy, DatagramPolicy, ListenPolicy, canonical_target


def bind_host(text: str) -> str:
    policy = ConnectPolicy(bind_address=text)
    assert policy.bind_address is not None
    return policy.bind_address[0]


LISTENING: dict[str, Callable[[str], Any]] = {
    "ListenPolicy": lambda text: ListenPolicy(text, 0),
    "DatagramPolicy": lambda text: DatagramPolicy(text, 0),
}
SHOWN: dict[str, Callable[[str], str]] = {
    "ListenPolicy": lambda text: ListenPolicy(text, 0).host,
    "DatagramPolicy": lambda text: DatagramPolicy(text, 0).host,
    "bind_address": bind_host,
    "target": lambda text: canonical_target(text, 80)[0],
}


@pytest.mark.parametrize("kind", LISTENING)
@pytest.mark.parametrize(("text", "shown"), EVERY)
def test_what_is_listened_on_has_one_spelling(kind: str, text: str, shown: str) -> None:
    policy = LISTENING[kind](text)
    assert policy.host == shown
    assert policy == LISTENING[kind](shown)
    assert str(policy) == (f"[{shown}]:0" if ":" in shown else f"{shown}:0")


@pytest.mark.parametrize("kind", SHOWN)
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        *LOOPBACK,
        ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("FE80:0:0:0:0:0:0:1%Eth0", "fe80::1%Eth0"),
        ("FF02:0::FB%eth0", "ff02::fb%eth0"),
    ],
)
def test_every_address_has_one_spelling(kind: str, text: str, shown: str) -> None:
    assert SHOWN[kind](text) == shown


@pytest.mark.parametrize("kind", SHOWN)
@given(address=st.ip_addresses(v=6).filter(int))
def test_any_IPv6_address_has_one_spelling(kind: str, address: ipaddress.IPv6Address) -> None:
    texts = (str(address), address.exploded, str(address).upper(), address.exploded.upper())
    [shown] = {SHOWN[kind](text) for text in texts}
    assert ipaddress.ip_address(shown) == (address.ipv4_mapped or address)


@pytest.mark.parametrize("kind", SHOWN)
@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("::1%lo", "write '::1'"),
        ("0:0:0:0:0:0:0:1%1", "write '::1'"),
        ("2001:DB8::1%eth0", "write '2001:db8::1'"),
        ("::%lo", "write '::'"),
        ("::ffff:127.0.0.1%lo", "write '127.0.0.1'"),
        ("fe80::1%", "write it as 'fe80::1%eth0'"),
        ("fe80::1%e th", "write it as 'fe80::1%eth0'"),
        ("fe80::1%e\x00h", "leave them out"),
    ],
)
def test_a_zone_that_would_be_a_second_spelling_is_refused(
    kind: str, text: str, remedy: str
) -> None:
    with pytest.raises(ValueError) as caught:
        SHOWN[kind](text)
    assert repr(text) in str(caught.value)
    assert remedy in str(caught.value)
