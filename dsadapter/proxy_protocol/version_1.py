"""The human-readable header (section 2.1)."""

from __future__ import annotations

from dsadapter.addressing.literal import require_literal
from dsadapter.messages import quoted
from dsadapter.proxy_protocol.proxy_header import ProxyHeader, canonical_sockaddr, refused

MAX_V1_LENGTH = 107
"""Bytes of a version 1 header at most, its CRLF included (section 2.1)."""
START = b"PROXY "
"""What it begins with."""


def length_of(received: bytes) -> int | None:
    """The length of the header that some bytes begin with; None as long as its end hasn't come.

    :raises ProxyHeaderError: if it can't end well.
    """
    # A lone CR or LF doesn't end the line (section 2.1), and is in no address.
    end = received.find(b"\r\n", 0, MAX_V1_LENGTH)
    line = received[: MAX_V1_LENGTH if end < 0 else end]
    if b"\n" in line or b"\r" in line.removesuffix(b"\r"):
        raise refused(line, "has a line end that isn't CRLF")
    if end >= 0:
        return end + 2
    if len(received) >= MAX_V1_LENGTH:
        raise refused(line, f"has no end within {MAX_V1_LENGTH} bytes")
    return None


def parse(header: bytes) -> ProxyHeader:
    """Take a whole header apart.

    :raises ProxyHeaderError: naming what is wrong.
    """
    line = header[:-2]
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        # "The receiver must ignore anything presented before the CRLF" (section 2.1).
        return ProxyHeader(1)
    fields = line.decode("latin-1").split(" ")
    family = fields[1]
    if family not in ("TCP4", "TCP6"):
        raise refused(line, f"has {quoted(family)} where TCP4, TCP6 or UNKNOWN has to be")
    if len(fields) != 6:
        raise refused(line, f"has {len(fields)} fields, not 6 with one space between two")
    ports = [_port(line, text) for text in fields[4:]]
    source, destination = (_address(line, text) for text in fields[2:4])
    # nginx writes the client's family, and the address that the client connected to in its own
    # family, which is another one behind a second proxy. TCP6 is also how an IPv6 socket of a
    # proxy calls its IPv4 clients.
    if family == "TCP4" and ":" in fields[2]:
        raise refused(line, f"has {quoted(fields[2])} for a client of IPv4")
    return ProxyHeader(
        1, canonical_sockaddr(source, ports[0]), canonical_sockaddr(destination, ports[1]), "stream"
    )


def _address(line: bytes, text: str) -> bytes:
    try:
        literal = require_literal(text)
    except ValueError:
        literal = None
    if literal is None or literal.zone:
        raise refused(line, f"has {quoted(text)} where an address has to be")
    return literal.packed


def _port(line: bytes, text: str) -> int:
    plain = text.isascii() and text.isdigit() and len(text) <= 5
    if not plain or (text[0] == "0" and text != "0") or int(text) > 65535:
        raise refused(line, f"has {quoted(text)} where a port, 0 to 65535, has to be")
    return int(text)
