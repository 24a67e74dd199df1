"""A platform without packet information."""

from __future__ import annotations

from dsadapter.packetinfo._cmsg import Decoder, Message

__all__ = ["DECODERS", "SUPPORTED", "source_messages"]

SUPPORTED = False

DECODERS: dict[tuple[int, int], Decoder] = {}


def source_messages(family: int, ipv4: bool, source: bytes | None, interface: int) -> list[Message]:
    """No message chooses where a datagram leaves from."""
    return []
