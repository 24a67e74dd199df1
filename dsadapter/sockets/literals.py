"""Address literals with zones, and the interfaces that zones and users name."""

from __future__ import annotations

import socket
from typing import NamedTuple

from dsadapter.addressing.mapped import PACKED_IPV4_LENGTH
from dsadapter.addressing.text import is_ipv4, parse_ipv6, unmap_text

_LINK_LOCAL_IPV4 = bytes([169, 254])

BROADCAST = "<broadcast>"
"""What Python's sockets call 255.255.255.255."""


class Literal(NamedTuple):
    """An address as users write it, taken apart."""

    text: str
    """Canonical, without its zone."""
    ipv4: bool
    packed: bytes
    interface: int
    """The index of the interface that its zone names; 0 without a zone."""


def parse_literal(host: object) -> Literal:
    """Take an address literal apart; a mapped one is the IPv4 address that it is.

    :raises ValueError: naming what is wrong with it.
    """
    if not isinstance(host, str):
        raise ValueError(f"{host!r} is not text; give an address literal such as '192.0.2.1'")
    text = "255.255.255.255" if host == BROADCAST else unmap_text(host)
    if is_ipv4(text):
        return Literal(text, True, socket.inet_aton(text), 0)
    packed = parse_ipv6(text)
    if packed is None:
        raise ValueError(f"{host!r} is not an address literal; names have to be resolved first")
    literal, _, zone = text.partition("%")
    return Literal(literal, False, packed, interface_index(zone) if zone else 0)


def interface_index(interface: str | int) -> int:
    """The index of an interface that is given by its name or its index.

    :raises ValueError: if there is no such interface.
    """
    if isinstance(interface, str):
        try:
            return socket.if_nametoindex(interface)
        except (OSError, ValueError):
            digits = interface.isascii() and interface.isdigit() and len(interface) < 10
            index = int(interface) if digits else -1
    else:
        index = interface
    if not 0 < index < 2**31:
        raise ValueError(
            f"there is no interface {interface!r}; give the name or the index of one of this "
            f"machine's"
        )
    return index


def canonical_text(packed: bytes, interface: int) -> str:
    """The text of a packed address; an IPv6 one that is link-local has its zone."""
    if len(packed) == 4:
        return socket.inet_ntoa(packed)
    text = socket.inet_ntop(socket.AF_INET6, packed)
    if interface and needs_zone(packed):
        return f"{text}%{interface_name(interface) or interface}"
    return text


def interface_name(index: int) -> str | None:
    """The name of an interface; None if it has gone, or the index is 0."""
    try:
        return socket.if_indextoname(index) if index else None
    except OSError:
        return None


def is_group(packed: bytes) -> bool:
    """Whether a packed address is multicast, or IPv4's limited broadcast."""
    if len(packed) == PACKED_IPV4_LENGTH:
        return 224 <= packed[0] < 240 or packed == b"\xff\xff\xff\xff"
    return packed[0] == 0xFF


def is_link_local(packed: bytes) -> bool:
    """Whether a packed address is unicast and means something on one link only."""
    if len(packed) == PACKED_IPV4_LENGTH:
        return packed.startswith(_LINK_LOCAL_IPV4)
    return packed[0] == 0xFE and packed[1] & 0xC0 == 0x80


def needs_zone(packed: bytes) -> bool:
    """Whether a packed IPv6 address is link-local, unicast or multicast (RFC 4007, section 6)."""
    return len(packed) != PACKED_IPV4_LENGTH and (
        is_link_local(packed) or (packed[0] == 0xFF and packed[1] & 0x0F in (1, 2))
    )
