"""Packet information on Windows (``WSARecvMsg``, ``WSASendMsg``).

Which message comes for an IPv4 datagram on an AF_INET6 socket differs: ``IP_PKTINFO``,
``IPV6_PKTINFO`` with a mapped destination, or both. They are told by level, type and length.
"""

from __future__ import annotations

import socket
import struct

from dsadapter.packetinfo import _cmsg
from dsadapter.packetinfo._cmsg import Facts, IPv4Message
from dsadapter.sockets.control_messages import Message

__all__ = ["DECODERS", "SUPPORTED", "ipv4_message", "source_messages"]

SUPPORTED = True

_IPV4, _IPV6 = 0, 41
_PKTINFO = 19
_HOPLIMIT = 21
_IP_TOS = 3
_IPV6_TCLASS = 39
_IN_PKTINFO = struct.Struct("@4sI")


def _ipv4_packet_info(data: bytes) -> Facts | None:
    """Winsock's ``IN_PKTINFO`` has two members: the destination in the IP header, and the index of
    the interface."""
    if len(data) != _IN_PKTINFO.size:
        return None
    destination, interface = _IN_PKTINFO.unpack(data)
    return {"ipv4": destination, "ipv4_interface": interface}


DECODERS = {
    (_IPV4, _PKTINFO): _ipv4_packet_info,
    (_IPV4, _HOPLIMIT): _cmsg.number("hop_limit", "@i"),
    (_IPV4, _IP_TOS): _cmsg.number("traffic_class", "@i"),
    (_IPV6, _PKTINFO): _cmsg.ipv6_packet_info,
    (_IPV6, _HOPLIMIT): _cmsg.number("hop_limit", "@i"),
    (_IPV6, _IPV6_TCLASS): _cmsg.number("traffic_class", "@i"),
}


def ipv4_message(sock: socket.socket) -> IPv4Message:
    """As :func:`dsadapter.packetinfo._linux.ipv4_message`: Windows may send ``IPV6_PKTINFO`` with a
    mapped destination alone."""
    return "never"


def source_messages(family: int, ipv4: bool, source: bytes | None, interface: int) -> list[Message]:
    """As :func:`dsadapter.packetinfo._linux.source_messages`.

    ``IP_PKTINFO`` serves an AF_INET6 socket with a mapped destination, too, as on Linux.
    """
    if source is None and not interface:
        return []
    if ipv4:
        return [(_IPV4, _PKTINFO, _IN_PKTINFO.pack(source or bytes(4), interface))]
    return [(_IPV6, _PKTINFO, _cmsg.ipv6_source(source, interface))]
