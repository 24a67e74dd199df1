"""Frames written to an interface as a stranger on the wire writes them."""

from __future__ import annotations

import socket
import struct
from typing import Literal

ETH_P_IPV6 = 0x86DD
ETH_P_IP = 0x0800


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    folded: int = ~total & 0xFFFF
    return folded


def ipv6_packet(
    source: str, destination: str, protocol: Literal[6, 17], segment: bytes, checksum_at: int
) -> bytes:
    """An IPv6 packet; the checksum of the segment is filled in."""
    addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(
        socket.AF_INET6, destination
    )
    pseudo = addresses + struct.pack("!IxxxB", len(segment), protocol)
    check = struct.pack("!H", checksum(pseudo + segment) or 0xFFFF)
    segment = segment[:checksum_at] + check + segment[checksum_at + 2 :]
    return struct.pack("!IHBB", 6 << 28, len(segment), protocol, 64) + addresses + segment


def udp_over_ipv6(
    source: str, source_port: int, destination: str, port: int, payload: bytes
) -> bytes:
    """An IPv6 packet with a UDP datagram in it."""
    segment = struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload
    return ipv6_packet(source, destination, 17, segment, 6)


def write_frame(
    interface: str, packet: bytes, destination: bytes = bytes(6), source: bytes = bytes(6)
) -> None:
    """Write an IP packet to an interface, to the hardware address of who is to get it."""
    kind = ETH_P_IPV6 if packet[0] >> 4 == 6 else ETH_P_IP
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((interface, 0))
        raw.send(destination + source + struct.pack("!H", kind) + packet)
