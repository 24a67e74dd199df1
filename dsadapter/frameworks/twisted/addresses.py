"""Canonical socket addresses, and Twisted's objects for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address

from dsadapter.addressing.sockaddr import SocketAddress

_new_ipv4, _new_ipv6 = IPv4Address.__new__, IPv6Address.__new__


def _ipv4_at_once(address: SocketAddress) -> IPv4Address:
    made = _new_ipv4(IPv4Address)
    made.type = "TCP"
    made.host, made.port = address
    return made


def _ipv6_at_once(address: SocketAddress) -> IPv6Address:
    made = _new_ipv6(IPv6Address)
    made.type = "TCP"
    made.host, made.port, made.flowInfo, made.scopeID = address
    return made


def _plainly(address: SocketAddress) -> IPv4Address | IPv6Address:
    return (IPv4Address if len(address) == 2 else IPv6Address)("TCP", *address)


def _makes_the_same(at_once: Callable[[SocketAddress], Any], address: SocketAddress) -> bool:
    """Whether an object that is made past its constructor, which validates, is like one that is
    not, pickled as well: how a release of Twisted keeps its state is its own affair."""
    try:
        made, plain = at_once(address), _plainly(address)
        state = made.__reduce_ex__(4), plain.__reduce_ex__(4)
        same = made == plain and hash(made) == hash(plain) and repr(made) == repr(plain)
    except Exception:
        return False
    return same and state[0] == state[1]


_make_ipv4: Callable[[SocketAddress], IPv4Address | IPv6Address]
_make_ipv6: Callable[[SocketAddress], IPv4Address | IPv6Address]
_make_ipv4 = _ipv4_at_once if _makes_the_same(_ipv4_at_once, ("192.0.2.1", 80)) else _plainly
_make_ipv6 = (
    _ipv6_at_once if _makes_the_same(_ipv6_at_once, ("2001:db8::1", 80, 1, 2)) else _plainly
)


def stream_address(address: SocketAddress) -> IPv4Address | IPv6Address:
    """Twisted's object for a canonical socket address."""
    return _make_ipv4(address) if len(address) == 2 else _make_ipv6(address)


def sockaddr_of(address: Any) -> SocketAddress:
    """The socket address of Twisted's object for a canonical one."""
    if hasattr(address, "flowInfo"):
        return address.host, address.port, address.flowInfo, address.scopeID
    return address.host, address.port
