"""Multicast of both families on one socket: IPv4's options act on IPv4's groups only."""

from __future__ import annotations

import errno
import socket
import struct
import sys

from dsadapter.addressing.literal import AddressLiteral, parse_literal, require_literal
from dsadapter.addressing.scope import BROADCAST, is_group
from dsadapter.messages import quoted
from dsadapter.policy import ListenMode
from dsadapter.sockets.ifaddrs import interface_index, interface_with, ipv4_address_of, zone_index
from dsadapter.sockets.options import (
    IPV4_MULTICAST_HOPS,
    IPV4_MULTICAST_INTERFACE,
    IPV4_MULTICAST_LOOP,
    IPV6_MULTICAST_HOPS,
    IPV6_MULTICAST_INTERFACE,
    IPV6_MULTICAST_LOOP,
    JOIN_GROUP,
    JOIN_SOURCE_GROUP,
    LEAVE_GROUP,
    LEAVE_SOURCE_GROUP,
    SocketOption,
    set_ipv4_option,
    set_option,
)

_LINUX = sys.platform.startswith("linux")
# struct group_req and struct group_source_req of RFC 3678; macOS packs them.
_GROUP = struct.Struct("@I128s" if sys.platform == "darwin" else "@I0P128s")
_SOURCE = struct.Struct("@128s")
_MREQN = struct.Struct("@4s4si")


def change_membership(
    sock: socket.socket,
    mode: ListenMode,
    group: str,
    interface: str | int = "",
    source: str | None = None,
    *,
    join: bool,
) -> None:
    """Join or leave a group.

    :param mode: what the socket serves.
    :param group: an address literal; its zone, if it has one, is the interface.
    :param interface: a name, an index, or an address of the group's family; empty or unspecified
        for the system to choose.
    :param source: receive from this sender alone (source-specific multicast, RFC 4607).
    :raises ValueError: naming the offending value.
    :raises OSError: as ``setsockopt``.
    """
    literal = require_literal(group)
    if not is_group(literal.packed) or literal.packed == BROADCAST:
        raise ValueError(f"{quoted(group)} is not a multicast group")
    if not _serves(mode, literal.is_ipv4):
        kind = "IPv4" if literal.is_ipv4 else "IPv6"
        raise ValueError(f"{quoted(group)} is an {kind} group, which this port does not serve")
    index = resolve_interface(interface, literal.is_ipv4) or zone_index(literal)
    value = _GROUP.pack(index, _sockaddr(literal))
    table = JOIN_GROUP if join else LEAVE_GROUP
    if source is not None:
        sender = require_literal(source)
        if sender.is_ipv4 != literal.is_ipv4:
            raise ValueError(
                f"source {quoted(source)} is not of the family of the group {quoted(group)}"
            )
        value += _SOURCE.pack(_sockaddr(sender))
        table = JOIN_SOURCE_GROUP if join else LEAVE_SOURCE_GROUP
    option = table[literal.is_ipv4]
    if option.number is None:
        raise OSError(errno.EOPNOTSUPP, f"this system has no {option.name}")
    set_option(sock, option, value)


def resolve_interface(interface: str | int, ipv4: bool | None = None) -> int:
    """The index of an interface that is given by name, index, or one of its addresses; 0 for none.

    No name is looked up as a host's.

    :param ipv4: the family that an address must have; None for either.
    :raises ValueError: if there is no such interface, naming it.
    """
    if interface == "" or interface == 0:
        return 0
    if interface == "localhost":
        # The one host name whose address everybody knows.
        interface = "::1" if ipv4 is False else "127.0.0.1"
    literal = parse_literal(interface) if isinstance(interface, str) else None
    if literal is None:
        return interface_index(interface)
    if ipv4 is not None and literal.is_ipv4 != ipv4:
        raise ValueError(
            f"interface {quoted(interface)} is an {'IPv4' if literal.is_ipv4 else 'IPv6'} address, "
            f"but the group is not; give an address of the group's family, or a name"
        )
    if not any(literal.packed):
        return 0
    index = zone_index(literal) or interface_with(literal.packed)
    if index is None:
        raise ValueError(f"no interface has the address {quoted(interface)}")
    return index


def set_outgoing_interface(sock: socket.socket, mode: ListenMode, interface: str | int) -> None:
    """Send to groups of every family by one interface, unless a datagram says otherwise.

    :param interface: as for :func:`change_membership`.
    :raises ValueError: if there is no such interface.
    :raises OSError: as ``setsockopt``.
    """
    index = resolve_interface(interface, True if mode == "ipv4" else None)
    if mode != "ipv4":
        set_option(sock, IPV6_MULTICAST_INTERFACE, index)
    if mode != "ipv6":
        set_ipv4_option(sock, IPV4_MULTICAST_INTERFACE, _ipv4_interface(interface, index))


def outgoing_interface(sock: socket.socket, mode: ListenMode) -> str | int:
    """IPv4's address of the interface on an IPv4 socket, else its index; unspecified for none."""
    if mode == "ipv4":
        return socket.inet_ntoa(sock.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, 4))
    return sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF)


def set_loopback(sock: socket.socket, mode: ListenMode, loopback: int) -> None:
    """Whether this machine hears what the socket sends to groups.

    :param loopback: True or False, or 1 or 0.
    :raises ValueError: for anything else.
    :raises OSError: as ``setsockopt``.
    """
    # Text such as "no" would count as true.
    if not isinstance(loopback, int) or loopback not in (0, 1):
        raise ValueError(f"loopback mode {loopback!r} is neither True nor False; give one of them")
    _set(sock, mode, IPV4_MULTICAST_LOOP, IPV6_MULTICAST_LOOP, int(loopback))


def loopback(sock: socket.socket, mode: ListenMode) -> bool:
    """Whether this machine hears what the socket sends to groups."""
    return bool(_get(sock, mode, IPV4_MULTICAST_LOOP, IPV6_MULTICAST_LOOP))


def set_hops(sock: socket.socket, mode: ListenMode, hops: int) -> None:
    """How many hops a datagram to a group travels, 0 to 255.

    :raises ValueError: for any other number.
    :raises OSError: as ``setsockopt``.
    """
    if not 0 <= hops <= 255:
        raise ValueError(f"TTL {quoted(hops)} is not a number from 0 to 255")
    _set(sock, mode, IPV4_MULTICAST_HOPS, IPV6_MULTICAST_HOPS, hops)


def hops(sock: socket.socket, mode: ListenMode) -> int:
    """How many hops a datagram to a group travels."""
    return _get(sock, mode, IPV4_MULTICAST_HOPS, IPV6_MULTICAST_HOPS)


def _serves(mode: ListenMode, ipv4: bool) -> bool:
    return mode != ("ipv6" if ipv4 else "ipv4")


def _set(
    sock: socket.socket, mode: ListenMode, ipv4: SocketOption, ipv6: SocketOption, value: int
) -> None:
    if mode != "ipv4":
        set_option(sock, ipv6, value)
    if mode != "ipv6":
        set_ipv4_option(sock, ipv4, value)


def _get(sock: socket.socket, mode: ListenMode, ipv4: SocketOption, ipv6: SocketOption) -> int:
    option = ipv4 if mode == "ipv4" else ipv6
    assert option.number is not None
    return sock.getsockopt(option.level, option.number)


def _ipv4_interface(interface: str | int, index: int) -> bytes:
    address: bytes | None = None
    if isinstance(interface, str) and index:
        literal = parse_literal(interface)
        address = literal.packed if literal is not None and literal.is_ipv4 else None
    if address is None and index:
        address = ipv4_address_of(index)
    if _LINUX:
        return _MREQN.pack(bytes(4), address or bytes(4), index)
    return address or bytes(4)


def _sockaddr(literal: AddressLiteral) -> bytes:
    family = socket.AF_INET if literal.is_ipv4 else socket.AF_INET6
    length = 16 if literal.is_ipv4 else 28
    head = struct.pack("@H", family) if _LINUX else bytes([length, family])
    body = bytes(2) if literal.is_ipv4 else bytes(6)
    return (head + body + literal.packed).ljust(128, b"\0")
