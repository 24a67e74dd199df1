"""What may be shown for an address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dsadapter.addressing import unmap
from dsadapter.addressing.literal import parse_literal

IPV4, IPV6 = "127.0.0.1", "::1"
BOTH = (IPV4, IPV6)
MAPPED = ("::ffff:127.0.0.1", "::FFFF:7f00:1", "0:0:0:0:0:ffff:127.0.0.1")
"""Spellings of one address."""

Name = tuple[str, int]
_CANDIDATE = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


def name_of(sockaddr: Any) -> Name:
    """Host and port of a plain socket's name."""
    return sockaddr[0], sockaddr[1]


def require_address(place: str, seen: Any, expected: Name) -> None:
    """Check that a place shows an address, in the form that its family has."""
    assert seen is not None, f"{place} shows nothing; it should show {expected}"
    assert "address" in seen, f"{place} shows a text, {seen}, and no address"
    host, port, *more = seen["address"]
    assert (host, port) == expected, f"{place} shows {(host, port)}; it should show {expected}"
    if ":" not in host:
        assert not more, f"{place} shows the IPv4 address {expected} in {2 + len(more)} items"


def require_own_kind(place: str, seen: Mapping[str, Any]) -> None:
    """Check that a framework with a type for each family uses both.

    :param seen: by the peer's host.
    """
    kinds = {host: seen[host]["type"] for host in BOTH}
    if kinds[IPV6] != "tuple":
        assert kinds[IPV4] != kinds[IPV6], f"{place} is a {kinds[IPV4]} for IPv4 and for IPv6 alike"


def require_text(place: str, seen: Any, host: str) -> None:
    """Check that at least one of the texts shows a host, and none shows another form of it."""
    assert seen is not None, f"{place} shows nothing; it should show {host}"
    texts = seen.get("texts")
    assert texts is not None, f"{place} shows an address, {seen}, and no text"
    forbid_mapped(place, texts)
    assert any(host in text for text in texts), f"no text of {place} shows {host}: {texts}"


def forbid_mapped(place: str, texts: list[str]) -> None:
    """Check that no text has a mapped address in it."""
    for text in texts:
        found = mapped_in(text)
        assert found is None, f"{place} shows {found}, which is {unmap(found)}:\n{text}"


def forbid_mapped_anywhere(places: Mapping[str, Any]) -> None:
    """Check that nothing that was reported is mapped, whatever the place."""
    for place, seen in places.items():
        if seen is not None:
            forbid_mapped(place, seen.get("texts") or [str(seen["address"][0])])


def mapped_in(text: str) -> str | None:
    """The first mapped address in a text."""
    for candidate in _CANDIDATE.findall(text):
        while candidate.startswith(":::"):
            candidate = candidate[1:]
        # A port, a colon or the end of a sentence may follow.
        for end in range(len(candidate), 2, -1):
            try:
                literal = parse_literal(candidate[:end])
            except ValueError:
                continue
            if literal is not None:
                if literal.is_ipv4 and ":" in candidate[:end]:
                    return str(candidate[:end])
                break
    return None
