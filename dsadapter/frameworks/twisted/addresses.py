"""Canonical socket addresses, and Twisted's objects for them."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address

from dsadapter.addressing.sockaddr import SocketAddress


def stream_address(address: SocketAddress) -> IPv4Address | IPv6Address:
    """Twisted's object for a canonical socket address."""
    return (IPv4Address if len(address) == 2 else IPv6Address)("TCP", *address)


def real_name(address: SocketAddress) -> SocketAddress:
    """A socket address with the zone in its host, where it has a scope id."""
    if len(address) == 4 and address[3]:
        flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        return socket.getnameinfo(address, flags)[0], *address[1:]
    return address


def sockaddr_of(address: Any) -> SocketAddress:
    """The socket address of Twisted's object for a canonical one."""
    if hasattr(address, "flowInfo"):
        return address.host, address.port, address.flowInfo, address.scopeID
    return address.host, address.port
