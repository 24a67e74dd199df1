"""Canonical socket addresses, and Twisted's objects for them."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address

from dsadapter.addressing.sockaddr import SocketAddress


def stream_address(address: SocketAddress) -> IPv4Address | IPv6Address:
    """Twisted's object for a canonical socket address."""
    return (IPv4Address if len(address) == 2 else IPv6Address)("TCP", *address)


def sockaddr_of(address: Any) -> SocketAddress:
    """The socket address of Twisted's object for a canonical one."""
    if hasattr(address, "flowInfo"):
        return address.host, address.port, address.flowInfo, address.scopeID
    return address.host, address.port
