"""Hosts to connect to: what passes, in which form, and what is refused with which remedy."""

from __future__ import annotations

import builtins
import socket
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dsadapter.addressing.hosts import canonical_host, is_literal


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("0:0:0:0:0:ffff:c000:0201", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("FE80::1%eth0", "fe80::1%eth0"),
        ("example.com", "example.com"),
        ("example.com.", "example.com."),
        ("localhost", "localhost"),
        ("_service.example", "_service.example"),
        ("1and1.example", "1and1.example"),
        ("4.example", "4.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
    ],
)
def test_hosts_and_their_canonical_forms(text: str, canonical: str) -> None:
    assert canonical_host(text) == canonical


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "give a name or an address literal"),
        (".", "empty part"),
        ("a..example", "empty part"),
        ("[::1]", "brackets"),
        ("[::ffff:127.0.0.1]", "brackets"),
        ("::1:80:80:80:80:80:80:80:80", "give the port as an argument of its own"),
        ("example.com:80", "give the port as an argument of its own"),
        ("fe80::1%", "write it as 'fe80::1%eth0'"),
        ("::ffff:127.0.0.1%eth0", "zone id"),
        ("exa mple", "give the name alone"),
        ("user@example.com", "give the name alone"),
        ("http://example.com", "give the name alone"),
        ("example.com/path", "give the name alone"),
        ("*", "write '127.0.0.1' or '::1' if that is meant"),
        ("\uff0a", "*"),
        ("*.", "give the name alone"),
        ("*.example", "give the name alone"),
        ("<broadcast>", "give the name alone"),
        ("<any>", "give the name alone"),
        (" ", "give the name alone"),
        ("127.0.0.1 ", "give the name alone"),
        ("\t127.0.0.1", "'\\t127.0.0.1'"),
        ("exa\x00mple", "leave them out"),
        ("127.0.0.01", "127.0.0.01"),
        ("a" * 64 + ".example", "63 between two dots"),
        (".".join(["abcdefg"] * 33), "at most 253 characters"),
        ("ü" * 64 + ".example", "is not a name"),
        ("xn--ü.example", "is not a name"),
    ],
)
def test_what_is_no_host_is_refused_by_name_and_with_a_remedy(text: str, remedy: str) -> None:
    with pytest.raises(ValueError) as caught:
        canonical_host(text)
    assert remedy in str(caught.value)
    quoted = repr(text[:100])
    assert quoted in str(caught.value) or text in str(caught.value)


@pytest.mark.parametrize("host", [None, b"example.com", 1])
def test_only_text_is_a_host(host: Any) -> None:
    with pytest.raises(ValueError, match=r"is not text"):
        canonical_host(host)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("127.1", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0X7F000001", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("1.2.3.256", "four decimal numbers"),
        ("1.2.3.4.5", "four decimal numbers"),
        ("example.123", "four decimal numbers"),
    ],
)
def test_numbers_that_only_some_parsers_take_for_an_address_show_what_they_mean(
    text: str, meant: str
) -> None:
    with pytest.raises(ValueError) as caught:
        canonical_host(text)
    assert repr(text) in str(caught.value)
    assert meant in str(caught.value)


NUMBERS = st.one_of(
    st.integers(0, 2**33).map(str),
    st.integers(0, 2**33).map(hex),
    st.integers(0, 2**33).map(lambda number: f"0{number:o}"),
)


@given(st.one_of(st.lists(NUMBERS, min_size=1, max_size=5).map(".".join), st.text(max_size=20)))
@example("1.2.3.4 x")
@example("127.0.0.1\n")
@example("*")
@example("\uff0a")
@example("\uff11\uff12\uff17.0.0.1")
def test_what_the_C_library_takes_for_an_address_passes_only_if_everybody_does(text: str) -> None:
    """Hence no filter that reads the canonical form can be passed by another spelling."""
    try:
        host = canonical_host(text)
    except ValueError:
        return
    try:
        # Nobody is asked: a name is an error.
        found = socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        assert not is_literal(host) or "%" in host
    else:
        assert "%" in host or {a[0] for *_, a in found} == {host} == {str(ip_address(host))}


@given(st.ip_addresses(v=4))
def test_IPv4_in_every_spelling_is_one_host(address: Any) -> None:
    mapped = ip_address(f"::ffff:{address}")
    spellings = (str(address), str(mapped), mapped.exploded, f"::ffff:{address}".upper())
    assert {canonical_host(text) for text in spellings} == {str(address)}
    assert is_literal(str(address))


@given(st.ip_addresses(v=6))
def test_IPv6_is_one_host(address: Any) -> None:
    for text in (str(address), address.exploded, str(address).upper()):
        host = canonical_host(text)
        assert is_literal(host)
        assert ip_address(host) == (address.ipv4_mapped or address)


def test_without_the_idna_package_pythons_own_codec_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "idna":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert canonical_host("bücher.example") == "xn--bcher-kva.example"
