"""PROXY headers as proxies write them."""

from __future__ import annotations

import socket

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def version_1(source: str, destination: str, family: str = "TCP6") -> bytes:
    """From port 4000 to port 80, the addresses as they are written."""
    return f"PROXY {family} {source} {destination} 4000 80\r\n".encode()


def version_2(source: str, destination: str, behind: bytes = b"") -> bytes:
    """The same in the binary format, of the family that both addresses have."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    packed = b"".join(socket.inet_pton(family, each) for each in (source, destination))
    block = packed + (4000).to_bytes(2) + (80).to_bytes(2) + behind
    kind = 0x21 if family == socket.AF_INET6 else 0x11
    return SIGNATURE + bytes([0x21, kind]) + len(block).to_bytes(2) + block


LOCAL = SIGNATURE + b"\x20\0\0\0"
UNIX = SIGNATURE + b"\x21\x31\0\xd8" + 2 * b"/run/socket".ljust(108, b"\0")

MAPPED = "::ffff:192.0.2.1", "::ffff:198.51.100.1"
IPV4 = ("192.0.2.1", 4000), ("198.51.100.1", 80)
IPV6 = ("2001:db8::1", 4000, 0, 0), ("2001:db8::80", 80, 0, 0)

HEADERS = {
    "v1-mapped": (version_1(*MAPPED), IPV4),
    "v1-one-dotted": (version_1("2001:db8::1", "198.51.100.1"), (IPV6[0], IPV4[1])),
    "v2-mapped": (version_2(*MAPPED), IPV4),
    "v2-inet": (version_2("192.0.2.1", "198.51.100.1"), IPV4),
    "v2-inet6": (version_2("2001:db8::1", "2001:db8::80"), IPV6),
}
"""With the names that a connection has then: the client's, and where it connected to."""
