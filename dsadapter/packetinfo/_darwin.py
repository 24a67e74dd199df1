"""Packet information on macOS, from its headers and manual pages; not run on macOS yet.

An AF_INET6 socket takes no IPPROTO_IP options; its ``IPV6_PKTINFO`` carries the mapped destination
of an IPv4 datagram, and takes a mapped source.
"""

from __future__ import annotations

import socket

from dsadapter.addressing.mapped import map_packed
from dsadapter.packetinfo import _cmsg
from dsadapter.packetinfo._cmsg import IPv4Message
from dsadapter.sockets.control_messages import Message

__all__ = ["DECODERS", "SUPPORTED", "ipv4_message", "source_messages"]

SUPPORTED = True

_IP_RECVTTL = 24
_IP_PKTINFO = 26
_IP_RECVTOS = 27
_IPV6_TCLASS = 36
_IPV6_PKTINFO = 46
_IPV6_HOPLIMIT = 47

DECODERS = {
    (0, _IP_PKTINFO): _cmsg.ipv4_packet_info,
    (0, _IP_RECVTTL): _cmsg.number("hop_limit", "B"),
    (0, _IP_RECVTOS): _cmsg.number("traffic_class", "B"),
    (41, _IPV6_PKTINFO): _cmsg.ipv6_packet_info,
    (41, _IPV6_HOPLIMIT): _cmsg.number("hop_limit", "@i"),
    (41, _IPV6_TCLASS): _cmsg.number("traffic_class", "@i"),
}


def ipv4_message(sock: socket.socket) -> IPv4Message:
    """As :func:`dsadapter.packetinfo._linux.ipv4_message`: there is one message, of IPv6's."""
    return "never"


def source_messages(family: int, ipv4: bool, source: bytes | None, interface: int) -> list[Message]:
    """As :func:`dsadapter.packetinfo._linux.source_messages`."""
    if source is None and not interface:
        return []
    if family == socket.AF_INET:
        return [(socket.IPPROTO_IP, _IP_PKTINFO, _cmsg.ipv4_source(source, interface))]
    wire = map_packed(source or bytes(4)) if ipv4 else source
    return [(socket.IPPROTO_IPV6, _IPV6_PKTINFO, _cmsg.ipv6_source(wire, interface))]
