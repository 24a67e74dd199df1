"""The client in ``X-Forwarded-For`` and ``Forwarded``: who is believed, and how far."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsadapter.addressing import AddressSet
from dsadapter.forwarded import client_by_forwarded, client_by_x_forwarded_for

TRUSTED = AddressSet(["10.0.0.0/8", "fd00::/8"])
NOBODY = AddressSet()
Reader = Callable[[Any, Iterable[str], AddressSet], str | None]


def by_elements(peer: Any, values: Iterable[str], trusted: AddressSet) -> str | None:
    """``X-Forwarded-For`` values, written as ``Forwarded``."""
    rewritten = [
        ", ".join(
            f'proto=http;For="{f"[{node}]" if node.count(":") > 1 and node[0] != "[" else node}"'
            for node in (entry.strip() for entry in value.split(","))
        )
        for value in values
    ]
    return client_by_forwarded(peer, rewritten, trusted)


readers = pytest.mark.parametrize("read", [client_by_x_forwarded_for, by_elements])

SINGLE = [
    ("192.0.2.1", "192.0.2.1"),
    ("::ffff:192.0.2.1", "192.0.2.1"),
    ("::FFFF:c000:201", "192.0.2.1"),
    ("[::ffff:192.0.2.1]", "192.0.2.1"),
    ("[0:0:0:0:0:ffff:c000:201]:4000", "192.0.2.1"),
    ("192.0.2.1:4000", "192.0.2.1"),
    ("192.0.2.1:_port", "192.0.2.1"),
    ("2001:DB8::0:1", "2001:db8::1"),
    ("[2001:db8::1]", "2001:db8::1"),
    ("[2001:db8::1]:4000", "2001:db8::1"),
    ("fe80::1%eth0", "fe80::1"),
    ("unknown", None),
    ("Unknown", None),
    ("_hidden", None),
    ("_SEVKISEK:80", None),
]


@readers
@pytest.mark.parametrize(("entry", "client"), SINGLE)
def test_an_entry_of_a_trusted_proxy_is_canonical(
    read: Reader, entry: str, client: str | None
) -> None:
    for peer in ("10.0.0.1", ("10.0.0.1", 80), ("::ffff:10.0.0.1", 80, 0, 0), "fd00::1", None):
        assert read(peer, [entry], TRUSTED) == client


@readers
@pytest.mark.parametrize("values", [["198.51.100.1"], ["10.0.0.2, unknown"], ["\x00;=,["], []])
def test_a_peer_that_is_not_trusted_is_the_client_whatever_it_sends(
    read: Reader, values: list[str]
) -> None:
    for trusted in (TRUSTED, NOBODY):
        assert read("192.0.2.1", values, trusted) == "192.0.2.1"
        assert read(("::ffff:192.0.2.1", 9, 0, 0), values, trusted) == "192.0.2.1"


@readers
@pytest.mark.parametrize(
    ("values", "client"),
    [
        (["9.9.9.9, 192.0.2.1"], "192.0.2.1"),
        (["9.9.9.9, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        (["9.9.9.9", "192.0.2.1", "::ffff:10.0.0.2, fd00::7"], "192.0.2.1"),
        (["9.9.9.9, 192.0.2.1", "10.0.0.2"], "192.0.2.1"),
        # Who sends a trusted address of its own is named by the next one.
        (["10.0.0.3, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (["::ffff:10.0.0.3"], "10.0.0.3"),
        (["9.9.9.9, unknown"], None),
        (["9.9.9.9, unknown, 10.0.0.2"], None),
        (["unknown, 192.0.2.1"], "192.0.2.1"),
        ([], "10.0.0.1"),
    ],
)
def test_entries_are_believed_from_the_end_on(
    read: Reader, values: list[str], client: str | None
) -> None:
    assert read("10.0.0.1", values, TRUSTED) == client


def test_empty_entries_count_for_nothing() -> None:
    for values in (["192.0.2.1,, "], ["", "192.0.2.1", ""], [",192.0.2.1,\t,"]):
        assert client_by_x_forwarded_for("10.0.0.1", values, TRUSTED) == "192.0.2.1"
    for values in (["for=192.0.2.1,, "], ["", "for=192.0.2.1", ""], [" ;,;for=192.0.2.1;,\t,"]):
        assert client_by_forwarded("10.0.0.1", values, TRUSTED) == "192.0.2.1"


def test_without_an_entry_a_peer_without_an_address_is_nobody() -> None:
    assert client_by_x_forwarded_for(None, [], TRUSTED) is None
    assert client_by_forwarded(None, ["by=10.0.0.1"], TRUSTED) is None


def test_the_examples_of_the_rfc_are_read() -> None:
    def read(*values: str) -> str | None:
        return client_by_forwarded(None, values, TRUSTED)

    assert read('for="_gazonk"') is None
    assert read('For="[2001:db8:cafe::17]:4711"') == "2001:db8:cafe::17"
    assert read("for=192.0.2.60;proto=http;by=203.0.113.43") == "192.0.2.60"
    assert read("for=192.0.2.43, for=198.51.100.17") == "198.51.100.17"
    assert read('for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown') is None
    assert read('for="192.0.2.\\43"') == "192.0.2.43"
    assert read('by="a,for=9.9.9.9;\\"";for=192.0.2.43') == "192.0.2.43"


def test_an_element_that_names_nobody_is_nobody() -> None:
    assert client_by_forwarded("10.0.0.1", ["for=9.9.9.9, proto=https"], TRUSTED) is None


NO_NODES = [
    "localhost",
    "192.0.2",
    "127.1",
    "192.0.2.01",
    "192.0.2.256",
    "192.0.2.1:",
    "192.0.2.1:x",
    "192.0.2.1:999999",
    "192.0.2.1:-1",
    "[192.0.2.1]",
    "[2001:db8::1",
    "[2001:db8::1]80",
    "[2001:db8::1]:",
    "[]",
    "2001:db8::1::",
    "::ffff:192.0.2.1%eth0",
    "192.0.2.1\x00",
    "192.0.2.1 x",
    "unknown:x",
    "x" * 5000,
]


@readers
@pytest.mark.parametrize("entry", NO_NODES)
def test_what_is_no_address_is_refused_where_it_is_believed(read: Reader, entry: str) -> None:
    with pytest.raises(ValueError) as caught:
        read("10.0.0.1", [f"192.0.2.1, {entry}"], TRUSTED)
    text = str(caught.value)
    assert repr(entry[:40])[1:-1] in text
    assert text.isprintable()
    assert len(text) < 400


@pytest.mark.parametrize("entry", NO_NODES)
def test_what_is_before_the_client_is_not_looked_at(entry: str) -> None:
    read = client_by_x_forwarded_for
    assert read("10.0.0.1", [f"{entry}, 192.0.2.1"], TRUSTED) == "192.0.2.1"
    assert read("10.0.0.1", [entry, "192.0.2.1, 10.0.0.9"], TRUSTED) == "192.0.2.1"


@pytest.mark.parametrize(
    "value",
    [
        "for=2001:db8::1",
        "for=[2001:db8::1]",
        "for=192.0.2.1:80",
        'for="192.0.2.1',
        'for="192.0.2.1"x',
        'for="192.0.2.1\\"',
        "for=",
        "for",
        "=192.0.2.1",
        "for =192.0.2.1",
        "for= 192.0.2.1",
        "for=192.0.2.1 proto=http",
        "for=192.0.2.1\n",
        "for=192.0.2.1;for=9.9.9.9",
        "for=192.0.2.1;FOR=9.9.9.9",
        # What a client opens, the proxy's entry doesn't close.
        'for="9.9.9.9, for=192.0.2.1',
        'for=9.9.9.9;x=", for="[2001:db8::1]:4711"',
        'for=9.9.9.9;x=", for="_x";proto=http',
    ],
)
def test_what_is_not_written_as_the_rfc_has_it_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="the header Forwarded") as caught:
        client_by_forwarded("10.0.0.1", [value], TRUSTED)
    assert str(caught.value).isprintable()


@readers
@pytest.mark.parametrize("peer", ["", "example.com", "unix:", ("", 0), "10.0.0.1:80"])
def test_a_peer_that_is_no_address_is_refused(read: Reader, peer: Any) -> None:
    with pytest.raises(ValueError):
        read(peer, ["192.0.2.1"], TRUSTED)


@pytest.mark.parametrize("read", [client_by_x_forwarded_for, client_by_forwarded])
@pytest.mark.parametrize("values", ["192.0.2.1", b"192.0.2.1"])
def test_one_value_is_no_list(read: Reader, values: Any) -> None:
    with pytest.raises(ValueError, match="give a list"):
        read("10.0.0.1", values, TRUSTED)


entries = st.sampled_from(["10.0.0.9", "192.0.2.1", "unknown", "x", "[::1]:8", '"', "", "\\", ";"])
hostile = st.text('for=";, [:].\\_019ax', max_size=40) | st.lists(entries).map(", ".join)


@pytest.mark.parametrize("appended", ["192.0.2.7", "2001:db8::7"])
@given(sent=st.lists(hostile, max_size=3), joined=st.booleans())
def test_nothing_that_a_client_sends_hides_what_the_proxy_appends(
    appended: str, sent: list[str], joined: bool
) -> None:
    node = f'"[{appended}]:4711"' if ":" in appended else appended
    for read, entry in (
        (client_by_x_forwarded_for, appended),
        (client_by_forwarded, f"for={node}"),
    ):
        values = [*sent[:-1], f"{sent[-1]}, {entry}"] if joined and sent else [*sent, entry]
        try:
            client = read("10.0.0.1", values, TRUSTED)
        except ValueError:
            # A quote that it opens is its own loss.
            assert read is client_by_forwarded
        else:
            assert client == appended
