"""Type-length-value vectors behind the addresses of version 2 (section 2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsadapter.errors import ProxyHeaderError
from dsadapter.messages import quoted
from dsadapter.proxy_protocol.crc32c import crc32c
from dsadapter.proxy_protocol.proxy_header import TLV

if TYPE_CHECKING:
    from collections.abc import Iterator

_CRC32C = 0x03
_NOOP = 0x04


def parse_tlvs(block: bytes) -> tuple[TLV, ...]:
    """Take TLVs apart, also those inside of another: ``PP2_TYPE_SSL``, 0x20, has them from the
    sixth byte of its value on (section 2.2.6). Padding is left out.

    :raises ProxyHeaderError: for one that is cut.
    """
    return tuple(tlv for _, tlv in _tlvs(block) if tlv.type != _NOOP)


def checked_tlvs(header: bytes, behind: int) -> tuple[TLV, ...]:
    """The TLVs of a whole header, whose checksum is right if it has one.

    :param behind: where they begin.
    :raises ProxyHeaderError: for one that is cut, and a checksum that is wrong.
    """
    found: list[TLV] = []
    for at, tlv in _tlvs(header[behind:]):
        if tlv.type == _CRC32C:
            if any(other.type == _CRC32C for other in found):
                raise ProxyHeaderError("a PROXY header has two checksums")
            _check_crc32c(header, behind + at, tlv.value)
        if tlv.type != _NOOP:
            found.append(tlv)
    return tuple(found)


def _check_crc32c(header: bytes, at: int, value: bytes) -> None:
    """Section 2.2.3; the checksum is of the header with zeros in its place."""
    zeroed = header[:at] + bytes(len(value)) + header[at + len(value) :]
    if len(value) != 4 or int.from_bytes(value) != crc32c(zeroed):
        raise ProxyHeaderError(f"the checksum {quoted(value)} of a PROXY header is wrong")


def _tlvs(block: bytes) -> Iterator[tuple[int, TLV]]:
    """Each with where its value begins."""
    at = 0
    while at < len(block):
        value = at + 3
        end = value + int.from_bytes(block[at + 1 : value])
        if value > len(block) or end > len(block):
            raise ProxyHeaderError(
                f"a TLV of a PROXY header, {quoted(block[at:])}, is cut or longer than its header"
            )
        yield value, TLV(block[at], block[value:end])
        at = end
