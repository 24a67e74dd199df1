"""Multicast by socket options, for frameworks that have no call for it."""

from __future__ import annotations

import socket
import struct

from dsadapter.addressing import unmap


def membership(group: str, interface: str) -> tuple[int, int, bytes]:
    """What to give ``setsockopt`` to join a group, on a socket that serves both families."""
    plain, index = unmap(group), struct.pack("=I", socket.if_nametoindex(interface))
    if ":" in plain:
        packed = socket.inet_pton(socket.AF_INET6, plain)
        return socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, packed + index
    packed = socket.inet_aton(plain)
    return socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, packed + bytes(4) + index
