"""Packet information on Linux (``ip(7)``, ``ipv6(7)``)."""

from __future__ import annotations

import socket

from dsadapter.packetinfo import _cmsg
from dsadapter.packetinfo._cmsg import IPv4Message
from dsadapter.sockets.control_messages import Message

__all__ = ["DECODERS", "SUPPORTED", "ipv4_message", "source_messages"]

SUPPORTED = True

_IP_TOS = 1
_IP_TTL = 2
_IP_PKTINFO = 8
_IPV6_PKTINFO = 50
_IPV6_HOPLIMIT = 52
_IPV6_TCLASS = 67

DECODERS = {
    (int(socket.IPPROTO_IP), _IP_PKTINFO): _cmsg.ipv4_packet_info,
    (int(socket.IPPROTO_IP), _IP_TTL): _cmsg.number("hop_limit", "@i"),
    (int(socket.IPPROTO_IP), _IP_TOS): _cmsg.number("traffic_class", "B"),
    (int(socket.IPPROTO_IPV6), _IPV6_PKTINFO): _cmsg.ipv6_packet_info,
    (int(socket.IPPROTO_IPV6), _IPV6_HOPLIMIT): _cmsg.number("hop_limit", "@i"),
    (int(socket.IPPROTO_IPV6), _IPV6_TCLASS): _cmsg.number("traffic_class", "@i"),
}


def ipv4_message(sock: socket.socket) -> IPv4Message:
    """Whether an IPv4 datagram brings a message of IPv4's own to an AF_INET6 socket.

    ``IP_PKTINFO`` comes with every IPv4 datagram and with no IPv6 one, whatever its addresses
    (``udpv6_recvmsg``; measured on 6.18). Where IPv4 is off it may not have been settable.
    """
    asked = sock.getsockopt(socket.IPPROTO_IP, _IP_PKTINFO)
    return "always" if asked else "not asked for"


def source_messages(family: int, ipv4: bool, source: bytes | None, interface: int) -> list[Message]:
    """The control messages that choose where a datagram leaves from.

    :param family: the socket's; an AF_INET6 one takes ``IP_PKTINFO`` for a mapped destination, too.
    :param ipv4: whether the destination is IPv4. A message of the other family would be ignored
        without an error, or refused.
    :param source: 4 or 16 bytes, of the destination's family; None for the system to choose.
    :param interface: an index; 0 for the system to choose.
    """
    if source is None and not interface:
        return []
    if ipv4:
        return [(socket.IPPROTO_IP, _IP_PKTINFO, _cmsg.ipv4_source(source, interface))]
    return [(socket.IPPROTO_IPV6, _IPV6_PKTINFO, _cmsg.ipv6_source(source, interface))]
