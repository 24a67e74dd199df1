"""Where a datagram goes, and where it leaves from: checked before the kernel is asked.

The kernel does not report every mismatch of families: Linux sends an IPv6 datagram whose control
message names an IPv4 source, and ignores the message (measured on 6.18).
"""

from __future__ import annotations

import socket
from typing import Any

from dsadapter.addressing.literal import AddressLiteral, require_literal
from dsadapter.addressing.scope import BROADCAST, is_group
from dsadapter.messages import quoted
from dsadapter.packetinfo import platform
from dsadapter.packetinfo.peers import Route
from dsadapter.policy import ListenMode, whole_number
from dsadapter.sockets.ifaddrs import interface_index, zone_index

_REMEDY = {
    "ipv4": "this port serves IPv4 only; bind one to '::' for both families, and leave family out",
    "ipv6": "this port serves IPv6 only; bind one to '::' for both families, and leave family out",
}


BROADCAST_NAME = "<broadcast>"
"""What Python's sockets call 255.255.255.255."""


def parse_destination(host: object) -> AddressLiteral:
    """A destination of datagrams, taken apart.

    :param host: an address literal, or :data:`BROADCAST_NAME`.
    :raises ValueError: as :func:`~dsadapter.addressing.literal.require_literal`.
    """
    return AddressLiteral(BROADCAST) if host == BROADCAST_NAME else require_literal(host)


def wire_address(mode: ListenMode, literal: AddressLiteral, port: int) -> tuple[Any, ...]:
    """The socket address that a socket of this mode takes for a destination.

    :raises ValueError: if it can't send to that family, or for a zone that is not there.
    """
    text = literal.address
    if literal.is_ipv4:
        if mode == "ipv6":
            raise ValueError(f"{text!r} is IPv4, but {_REMEDY[mode]}")
        return (text, port) if mode == "ipv4" else (f"::ffff:{text}", port, 0, 0)
    if mode == "ipv4":
        raise ValueError(f"{text!r} is IPv6, but {_REMEDY[mode]}")
    return text, port, 0, zone_index(literal)


def choose_route(
    mode: ListenMode,
    host: str,
    port: int,
    source: str | None = None,
    interface: str | int | None = None,
) -> Route:
    """How to send to a destination, and from where.

    :param mode: what the socket serves.
    :param host: an address literal, plain or mapped, with its zone if it is link-local; or
        ``"<broadcast>"``.
    :param source: the local address to send from; None, or an unspecified one, for the system to
        choose.
    :param interface: the name or the index of the interface to send by; None for the system to
        choose.
    :raises ValueError: naming the offending value: for what is no address, a family that the socket
        does not serve, what is no port, a source of another family than the destination's, a source
        that is a group, or two interfaces that are not the same.
    """
    if type(port) is not int or not 0 <= port <= 65535:
        whole_number("port", port)
    destination = parse_destination(host)
    address = wire_address(mode, destination, port)
    if source is None and interface is None:
        return Route(address, [])
    packed, index = None, 0
    if source is not None:
        chosen = require_literal(source)
        if chosen.is_ipv4 != destination.is_ipv4:
            kinds = ("IPv6", "IPv4")
            raise ValueError(
                f"source {quoted(source)} is {kinds[chosen.is_ipv4]}, but the destination "
                f"{quoted(host)} is {kinds[destination.is_ipv4]}; give a source of the "
                f"destination's family"
            )
        if is_group(chosen.packed):
            raise ValueError(
                f"source {quoted(source)} is a multicast or broadcast address; give one of this "
                f"machine's own"
            )
        packed = chosen.packed if any(chosen.packed) else None
        index = zone_index(chosen)
    if interface is not None:
        index = _same(index, interface_index(interface), f"interface {quoted(interface)}")
    if zone := zone_index(destination):
        index = _same(index, zone, f"the zone of {quoted(host)}")
    family = socket.AF_INET if mode == "ipv4" else socket.AF_INET6
    return Route(address, platform.source_messages(family, destination.is_ipv4, packed, index))


def _same(index: int, other: int, what: str) -> int:
    if index and index != other:
        raise ValueError(f"{what} is interface {other}, but the source's is {index}")
    return other
