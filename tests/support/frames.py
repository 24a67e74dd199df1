"""More frames than the conformance suite writes."""

from __future__ import annotations

import socket
import struct

from dsadapter.testing.frames import checksum, ipv6_packet, udp_over_ipv6, write_frame

__all__ = ["syn_over_ipv6", "udp_over_ipv4", "udp_over_ipv6", "write_frame"]


def syn_over_ipv6(source: str, source_port: int, destination: str, port: int) -> bytes:
    """An IPv6 packet that asks for a TCP connection."""
    segment = struct.pack("!HHIIBBHHH", source_port, port, 1, 0, 5 << 4, 0x02, 65535, 0, 0)
    return ipv6_packet(source, destination, 6, segment, 16)


def udp_over_ipv4(
    source: str, source_port: int, destination: str, port: int, payload: bytes
) -> bytes:
    """An IPv4 packet with a UDP datagram in it; without the optional checksum."""
    segment = struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload
    header = struct.pack(
        "!BBHHHBBH4s4s",
        *(0x45, 0, 20 + len(segment), 0, 0, 64, 17, 0),
        *(socket.inet_aton(source), socket.inet_aton(destination)),
    )
    check = struct.pack("!H", checksum(header))
    return header[:10] + check + header[12:] + segment
