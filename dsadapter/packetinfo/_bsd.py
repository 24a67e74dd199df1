"""Packet information on FreeBSD, NetBSD and OpenBSD, from their manual pages; not run there yet.

IPv4 has the destination alone (``IP_RECVDSTADDR``, which sends as ``IP_SENDSRCADDR``), without an
interface. FreeBSD's AF_INET6 sockets carry the mapped destination of an IPv4 datagram in
``IPV6_PKTINFO`` since 12.2; before that a dual-stack socket has none, and its IPv4 datagrams are
dropped as datagrams without packet information. OpenBSD has no dual-stack sockets.
"""

from __future__ import annotations

import socket

from dsadapter.addressing.mapped import PACKED_IPV4_LENGTH, map_packed
from dsadapter.packetinfo import _cmsg
from dsadapter.packetinfo._cmsg import Facts, IPv4Message
from dsadapter.sockets.control_messages import Message

__all__ = ["DECODERS", "SUPPORTED", "ipv4_message", "source_messages"]

SUPPORTED = True

_IP_RECVDSTADDR = 7
_IP_SENDSRCADDR = _IP_RECVDSTADDR
_IPV6_PKTINFO = 46
_IPV6_HOPLIMIT = 47
_IPV6_TCLASS = 61
# FreeBSD, NetBSD, OpenBSD.
_IP_RECVTTL = (65, 23, 31)
_IP_RECVTOS = 68


def _destination(data: bytes) -> Facts | None:
    return {"ipv4": data} if len(data) == PACKED_IPV4_LENGTH else None


DECODERS = {
    (0, _IP_RECVDSTADDR): _destination,
    **{(0, number): _cmsg.number("hop_limit", "B") for number in _IP_RECVTTL},
    (0, _IP_RECVTOS): _cmsg.number("traffic_class", "B"),
    (41, _IPV6_PKTINFO): _cmsg.ipv6_packet_info,
    (41, _IPV6_HOPLIMIT): _cmsg.number("hop_limit", "@i"),
    (41, _IPV6_TCLASS): _cmsg.number("traffic_class", "@i"),
}


def ipv4_message(sock: socket.socket) -> IPv4Message:
    """As :func:`dsadapter.packetinfo._linux.ipv4_message`: there is one message, of IPv6's."""
    return "never"


def source_messages(family: int, ipv4: bool, source: bytes | None, interface: int) -> list[Message]:
    """As :func:`dsadapter.packetinfo._linux.source_messages`; IPv4 has no choice of interface."""
    if family == socket.AF_INET:
        return [(socket.IPPROTO_IP, _IP_SENDSRCADDR, source)] if source else []
    if source is None and not interface:
        return []
    wire = map_packed(source or bytes(4)) if ipv4 else source
    return [(socket.IPPROTO_IPV6, _IPV6_PKTINFO, _cmsg.ipv6_source(wire, interface))]
