"""The IPv4-mapped prefix ``::ffff:0:0/96`` (RFC 4291, section 2.5.5.2) on packed addresses."""

from __future__ import annotations

from _socket import AF_INET6, inet_pton

MAPPED_PREFIX = bytes(10) + b"\xff\xff"
"""The 96 bits before the IPv4 address, 12 bytes."""

PACKED_IPV4_LENGTH = 4
PACKED_IPV6_LENGTH = 16


def is_mapped_packed(packed: bytes) -> bool:
    """Whether a packed address is IPv4-mapped.

    :param packed: 4 or 16 bytes, network order.
    :raises ValueError: for any other length, and for 16 bytes that read as address text.
    """
    _check(packed)
    return packed.startswith(MAPPED_PREFIX)


def map_packed(packed: bytes) -> bytes:
    """The 16 bytes that a dual-stack socket takes: 4 bytes are mapped, 16 come back as they are.

    :raises ValueError: as :func:`is_mapped_packed`.
    """
    _check(packed)
    return MAPPED_PREFIX + packed if len(packed) == PACKED_IPV4_LENGTH else packed


def unmap_packed(packed: bytes) -> bytes:
    """The 4 bytes inside a mapped address; anything that is not mapped comes back as it is.

    :raises ValueError: as :func:`is_mapped_packed`.
    """
    return packed[len(MAPPED_PREFIX) :] if is_mapped_packed(packed) else packed


def _check(packed: bytes) -> None:
    length = len(packed)
    if length == PACKED_IPV4_LENGTH:
        return
    if length != PACKED_IPV6_LENGTH:
        raise ValueError(
            f"{packed!r} is not a packed address: bytes mean 4 (IPv4) or 16 (IPv6) octets in "
            f"network order; pass address text as str"
        )
    if _reads_as_text(packed):
        raise ValueError(
            f"{packed!r} is address text in bytes: bytes mean a packed address; decode it first, "
            f"{packed.decode('ascii')!r}"
        )


def _reads_as_text(packed: bytes) -> bool:
    # b"::ffff:127.0.0.1" is 16 bytes long. Dotted IPv4 text never is.
    if packed.count(b":") < 2 or not packed.isascii():
        return False
    literal, _, zone = packed.decode("ascii").partition("%")
    if zone and not zone.isprintable():
        return False
    try:
        inet_pton(AF_INET6, literal)
    except (OSError, ValueError):
        return False
    return True
