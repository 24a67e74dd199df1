"""What a packed address is for: one machine, one link, a group (RFC 4291, section 2.7)."""

from __future__ import annotations

from dsadapter.addressing.mapped import PACKED_IPV4_LENGTH

BROADCAST = b"\xff\xff\xff\xff"
"""IPv4's limited broadcast address."""

_LINK_LOCAL_IPV4 = bytes([169, 254])


def is_group(packed: bytes) -> bool:
    """Whether a packed address is multicast, or IPv4's limited broadcast."""
    if len(packed) == PACKED_IPV4_LENGTH:
        return 224 <= packed[0] < 240 or packed == BROADCAST
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


def has_zones(packed: bytes) -> bool:
    """Whether a packed address may have a zone id: link-local unicast, and multicast of any scope
    (RFC 4007, section 6)."""
    return packed[0] == 0xFF or is_link_local(packed)
