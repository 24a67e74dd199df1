"""The one parse of an address literal and its zone (RFC 4291, section 2.2; RFC 4007, section 11).

Whatever takes address text asks here, so that no two parts of the package read one text as two
addresses.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntoa, inet_ntop, inet_pton

from dsadapter.addressing.mapped import MAPPED_PREFIX, PACKED_IPV4_LENGTH
from dsadapter.addressing.scope import has_zones
from dsadapter.messages import quoted

MAX_ZONE_LENGTH = 63
"""Characters of a zone id: Linux has names of 15 at most, other systems longer ones."""

_INET = int(AF_INET)
_INET6 = int(AF_INET6)
# What ends an address in a URL, a socket unit or a log line; no system has it in a name.
_NOT_IN_A_ZONE = frozenset(" %/\\:,;[]'\"")


class AddressLiteral:
    """An address that was written as text, taken apart.

    Two spellings of one address are equal.
    """

    __slots__ = ("packed", "zone")

    packed: bytes
    """4 bytes, also of an IPv4-mapped address; or 16."""
    zone: str
    """The zone id of an IPv6 address, as written; empty without one."""

    def __init__(self, packed: bytes, zone: str = "") -> None:
        self.packed = packed
        self.zone = zone

    @property
    def is_ipv4(self) -> bool:
        """Whether it is an IPv4 address, plain or mapped."""
        return len(self.packed) == PACKED_IPV4_LENGTH

    @property
    def address(self) -> str:
        """The canonical text without the zone (RFC 5952)."""
        return inet_ntoa(self.packed) if self.is_ipv4 else inet_ntop(_INET6, self.packed)

    def __str__(self) -> str:
        """The canonical text with the zone."""
        return f"{self.address}%{self.zone}" if self.zone else self.address

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AddressLiteral):
            return NotImplemented
        return self.packed == other.packed and self.zone == other.zone

    def __hash__(self) -> int:
        return hash((self.packed, self.zone))


def parse_literal(text: str) -> AddressLiteral | None:
    """Take an address literal apart; None for text that is none, such as a host name.

    :param text: IPv4 as four decimal numbers, the only form that ``inet_pton`` takes; IPv6 in any
        legal spelling, with a zone id after ``%``. A mapped address is the IPv4 address it means.
    :raises ValueError: for what two parsers would read as two addresses (IPv4 text with leading
        zeros, a mapped address with a zone id, brackets), for a zone id that is empty, longer than
        :data:`MAX_ZONE_LENGTH`, can't be one, or belongs to an address that has no zones, and for
        control characters: some parsers stop at a NUL. The text names the remedy.
    """
    packed = packed_literal(text)
    return None if packed is None else AddressLiteral(packed, text.partition("%")[2])


def canonical_literal(text: str) -> str | None:
    """The canonical text of a literal with its zone; None for text that is none.

    :raises ValueError: as :func:`parse_literal`.
    """
    packed = packed_literal(text)
    if packed is None:
        return None
    if len(packed) == PACKED_IPV4_LENGTH:
        return inet_ntoa(packed)
    address, (_, percent, zone) = inet_ntop(_INET6, packed), text.partition("%")
    return f"{address}%{zone}" if percent else address


def packed_literal(text: str) -> bytes | None:
    """The packed address of a literal, whatever its zone; None for text that is none.

    For callers to whom every call counts.

    :raises ValueError: as :func:`parse_literal`.
    """
    if _TAKES_MORE and not _is_strict(text):
        return _packed_zoned(text)
    try:
        if ":" not in text:
            return inet_pton(_INET, text)
        packed = inet_pton(_INET6, text)
    except (OSError, ValueError):
        return _packed_zoned(text)
    # Most addresses have no zero there.
    return packed if packed[0] else packed.removeprefix(MAPPED_PREFIX)


def _packed_zoned(text: str) -> bytes | None:
    """The same for what is not an address alone."""
    _refuse_unprintable(text)
    literal, percent, zone = text.partition("%")
    try:
        strict = not _TAKES_MORE or _is_strict(literal)
        packed = inet_pton(_INET6, literal) if percent and strict else None
    except (OSError, ValueError):
        packed = None
    if packed is None:
        _refuse_brackets(text)
        _refuse_leading_zeros(literal if ":" in text else text)
        return None
    if packed.startswith(MAPPED_PREFIX):
        ipv4 = inet_ntoa(packed.removeprefix(MAPPED_PREFIX))
        raise ValueError(
            f"{quoted(text)} is an IPv4-mapped address with a zone id, which IPv4 has no place "
            f"for; write {ipv4!r}"
        )
    _check_zone(text, packed, zone)
    return packed


def _takes_more() -> bool:
    """Whether ``inet_pton`` takes zone ids or leading zeros, or stops at a NUL, as some do."""
    for text in ("fe80::1%1", "fe80::1\0", "::ffff:010.0.0.1", "::00001"):
        try:
            inet_pton(_INET6, text)
        except (OSError, ValueError):
            continue
        return True
    return False


def _is_strict(text: str) -> bool:
    """Whether a literal has nothing but groups of hexadecimal digits, and decimal numbers without
    leading zeros; how many of them there are is ``inet_pton``'s to say."""
    # Only where the platform is lax.
    import re

    number = "(?:0|[1-9][0-9]{0,2})"
    groups = "(?:[0-9A-Fa-f]{0,4}:)*"
    return (
        re.fullmatch(rf"{groups}(?:[0-9A-Fa-f]{{0,4}}|(?:{number}\.){{3}}{number})", text)
        is not None
    )


_TAKES_MORE = _takes_more()


def require_literal(text: object) -> AddressLiteral:
    """Take an address literal apart.

    :raises ValueError: as :func:`parse_literal`, and for what is no address literal.
    """
    if not isinstance(text, str):
        raise ValueError(f"{quoted(text)} is not text; give an address literal such as '192.0.2.1'")
    literal = parse_literal(text)
    if literal is None:
        raise ValueError(
            f"{quoted(text)} is not an address literal; give four decimal numbers such as "
            f"'192.0.2.1', or an IPv6 address such as '2001:db8::1'; resolve a name first"
        )
    return literal


def _check_zone(text: str, packed: bytes, zone: str) -> None:
    address = inet_ntop(_INET6, packed)
    if not has_zones(packed):
        # The kernel ignores it, and one address would have two spellings.
        raise ValueError(
            f"{quoted(text)} has a zone id, but {address} is the same in every zone; write "
            f"{address!r}"
        )
    if not zone:
        wrong = "no zone id after '%'"
    elif len(zone) > MAX_ZONE_LENGTH or not _NOT_IN_A_ZONE.isdisjoint(zone):
        wrong = "a zone id that no interface can have"
    else:
        return
    raise ValueError(
        f"{quoted(text)} has {wrong}; write it as '{address}%eth0', with the interface that you "
        f"mean"
    )


def _refuse_unprintable(text: str) -> None:
    if not text.isprintable():
        raise ValueError(f"{quoted(text)} has characters that can't be printed; leave them out")


def _refuse_brackets(text: str) -> None:
    if text[:1] == "[":
        raise ValueError(
            f"{quoted(text)} has brackets, which belong to URLs; write the address without"
        )


def _refuse_leading_zeros(text: str) -> None:
    head, colon, tail = text.rpartition(":")
    numbers = tail.split(".", 4)
    if len(numbers) != 4 or not all(n.isascii() and n.isdigit() for n in numbers):
        return
    without = ".".join(n.lstrip("0") or "0" for n in numbers)
    if without == tail:
        return
    raise ValueError(
        f"{quoted(text)} has leading zeros, which some parsers read as octal; write "
        f"{head + colon + without!r} if the numbers are decimal"
    )
