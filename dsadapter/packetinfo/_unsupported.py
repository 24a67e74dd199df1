"""A platform without packet information."""

from __future__ import annotations

import socket

from dsadapter.packetinfo._cmsg import Decoder, IPv4Message
from dsadapter.sockets.control_messages import Message

__all__ = ["DECODERS", "SUPPORTED", "ipv4_message", "source_messages"]

SUPPORTED = False

DECODERS: dict[tuple[int, int], Decoder] = {}


def ipv4_message(sock: socket.socket) -> IPv4Message:
    """No message comes."""
    return "never"


def source_messages(family: int, ipv4: bool, source: bytes | None, interface: int) -> list[Message]:
    """No message chooses where a datagram leaves from."""
    return []
