"""The binary header (section 2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from dsadapter.addressing.mapped import PACKED_IPV4_LENGTH, PACKED_IPV6_LENGTH
from dsadapter.errors import ProxyHeaderError
from dsadapter.proxy_protocol.proxy_header import ProxyHeader, canonical_sockaddr, refused
from dsadapter.proxy_protocol.tlvs import checked_tlvs

if TYPE_CHECKING:
    from dsadapter.addressing.sockaddr import SocketAddress

MAX_V2_LENGTH = 4096
"""Bytes of a version 2 header at most, unless a parser is told otherwise. The format has room for
65,551; senders are to stay below 536 (section 2), certificates among the TLVs take more."""
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""What it begins with."""

_FIXED = len(SIGNATURE) + 4
_UNIX = 3
_ADDRESS_LENGTHS = {1: PACKED_IPV4_LENGTH, 2: PACKED_IPV6_LENGTH, _UNIX: 108}
_TRANSPORTS: dict[int, Literal["stream", "datagram"]] = {1: "stream", 2: "datagram"}


def length_of(received: bytes, max_length: int) -> int | None:
    """The length of the header that some bytes begin with; None as long as it hasn't all come.

    :raises ProxyHeaderError: if it is longer than is taken.
    """
    if len(received) < _FIXED:
        return None
    length = _FIXED + int.from_bytes(received[_FIXED - 2 : _FIXED])
    if length > max_length:
        raise ProxyHeaderError(
            f"a PROXY header announces {length} bytes; at most {max_length} are taken"
        )
    return length if len(received) >= length else None


def parse(header: bytes) -> ProxyHeader:
    """Take a whole header apart.

    :raises ProxyHeaderError: naming what is wrong.
    """
    version, command = divmod(header[12], 16)
    if version != 2 or command > 1:
        raise refused(header[:_FIXED], f"has version {version} and command {command}")
    if command == 0:
        # LOCAL: "discard the protocol block including the family" (section 2.2).
        return ProxyHeader(2)
    family, protocol = divmod(header[13], 16)
    if family > _UNIX or protocol > 2:
        raise refused(header[:_FIXED], f"has address family {family}, protocol {protocol}")
    if not family or not protocol:
        return ProxyHeader(2)
    length = _ADDRESS_LENGTHS[family]
    middle = _FIXED + length
    end = middle + length
    behind = end if family == _UNIX else end + 4
    if len(header) < behind:
        raise refused(header[:_FIXED], f"is {len(header)} bytes long, too short for addresses")
    first, second = header[_FIXED:middle], header[middle:end]
    source: SocketAddress | bytes
    destination: SocketAddress | bytes
    if family == _UNIX:
        source, destination = _unix_path(first), _unix_path(second)
    else:
        source = canonical_sockaddr(first, int.from_bytes(header[end : end + 2]))
        destination = canonical_sockaddr(second, int.from_bytes(header[end + 2 : behind]))
    tlvs = checked_tlvs(header, behind) if len(header) > behind else ()
    return ProxyHeader(2, source, destination, _TRANSPORTS[protocol], tlvs)


def _unix_path(field: bytes) -> bytes:
    return field.rstrip(b"\0") if field[:1] == b"\0" else field.partition(b"\0")[0]
