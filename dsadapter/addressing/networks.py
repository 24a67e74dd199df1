"""The one parse of a network in CIDR notation (RFC 4632, section 3.1; RFC 4291, section 2.3)."""

from __future__ import annotations

from dsadapter.addressing.literal import require_literal
from dsadapter.addressing.ranges import network_text
from dsadapter.messages import quoted

_MAPPED_BITS = 96


def parse_network(text: str) -> tuple[bytes, int]:
    """The packed address and the prefix length of a network, or of one address.

    :param text: ``192.0.2.0/24``, ``2001:db8::/32``, or a literal alone. A mapped network is the
        IPv4 network it means: ``::ffff:10.0.0.0/104`` is ``10.0.0.0/8``.
    :raises ValueError: for bits set behind the prefix, a prefix length that is no decimal number or
        out of range, a zone id, and as :func:`~dsadapter.addressing.literal.require_literal`. The
        text says what to write instead.
    """
    address, slash, prefix = text.partition("/")
    if slash and not address:
        raise ValueError(f"{quoted(text)} has no address; write it as '10.0.0.0/8'")
    literal = require_literal(address)
    packed = literal.packed
    bits = 8 * len(packed)
    if literal.zone:
        raise ValueError(
            f"{quoted(text)} has a zone id; write {literal.address!r}, which is meant in every zone"
        )
    if not slash:
        return packed, bits
    # How many bits a mapped address has before the IPv4 one.
    before = _MAPPED_BITS if literal.is_ipv4 and ":" in address else 0
    length = _decimal(prefix)
    if length is None:
        wrong = f"{quoted(prefix)} for a prefix length" if prefix else "no prefix length"
        raise ValueError(
            f"{quoted(text)} has {wrong}; write a decimal number behind '/', or "
            f"{literal.address!r} for the one address"
        )
    length -= before
    if not 0 <= length <= bits:
        raise _out_of_range(text, packed, length + before, before)
    network = _masked(packed, length)
    if network != packed:
        raise ValueError(
            f"{quoted(text)} has bits set behind its prefix; write "
            f"{network_text(network, length)!r} for the network, or {literal.address!r} for the "
            f"one address"
        )
    return packed, length


def _decimal(prefix: str) -> int | None:
    # int() takes signs, spaces, underscores, digits of other scripts.
    if not (prefix.isascii() and prefix.isdigit() and len(prefix) <= 3):
        return None
    return None if prefix[0] == "0" and prefix != "0" else int(prefix)


def _out_of_range(text: str, packed: bytes, length: int, before: int) -> ValueError:
    bits = 8 * len(packed)
    kind = "a mapped" if before else "an IPv4" if bits == 32 else "an IPv6"
    # Who maps a rule by hand often leaves the prefix length as it was.
    meant = min(length, bits) if before else bits
    return ValueError(
        f"{quoted(text)} has a prefix length out of range: {kind} network has {before} to "
        f"{before + bits}; write {network_text(_masked(packed, meant), meant)!r} if that is meant"
    )


def _masked(packed: bytes, length: int) -> bytes:
    below = 8 * len(packed) - length
    return (int.from_bytes(packed) >> below << below).to_bytes(len(packed))
