"""Where a datagram goes, and where it leaves from: checked before the kernel is asked.

The kernel does not report every mismatch of families: Linux sends an IPv6 datagram whose control
message names an IPv4 source, and ignores the message (measured on 6.18).
"""

from __future__ import annotations

import socket
from typing import Any

from dsadapter.packetinfo import platform
from dsadapter.packetinfo.peers import Route
from dsadapter.policy import ListenMode
from dsadapter.sockets.literals import Literal, interface_index, is_group, parse_literal

_REMEDY = {
    "ipv4": "this port is bound to IPv4; bind one to '::' for both families",
    "ipv6": "this port is bound to one IPv6 address; bind one to '::' for both families",
}


def wire_address(mode: ListenMode, literal: Literal, port: int) -> tuple[Any, ...]:
    """The socket address that a socket of this mode takes for a destination.

    :raises ValueError: if it can't send to that family.
    """
    text, ipv4, _, interface = literal
    if ipv4:
        if mode == "ipv6":
            raise ValueError(f"{text!r} is IPv4, but {_REMEDY[mode]}")
        return (text, port) if mode == "ipv4" else (f"::ffff:{text}", port, 0, 0)
    if mode == "ipv4":
        raise ValueError(f"{text!r} is IPv6, but {_REMEDY[mode]}")
    return text, port, 0, interface


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
        does not serve, a source of another family than the destination's, a source that is a group,
        or two interfaces that are not the same.
    """
    destination = parse_literal(host)
    address = wire_address(mode, destination, port)
    if source is None and interface is None:
        return Route(address, [])
    packed, index = None, 0
    if source is not None:
        chosen = parse_literal(source)
        if chosen.ipv4 != destination.ipv4:
            kinds = ("IPv6", "IPv4")
            raise ValueError(
                f"source {source!r} is {kinds[chosen.ipv4]}, but the destination {host!r} is "
                f"{kinds[destination.ipv4]}; give a source of the destination's family"
            )
        if is_group(chosen.packed):
            raise ValueError(
                f"source {source!r} is a multicast or broadcast address; give one of this "
                f"machine's own"
            )
        packed = chosen.packed if any(chosen.packed) else None
        index = chosen.interface
    if interface is not None:
        index = _same(index, interface_index(interface), f"interface {interface!r}")
    if destination.interface:
        index = _same(index, destination.interface, f"the zone of {host!r}")
    family = socket.AF_INET if mode == "ipv4" else socket.AF_INET6
    return Route(address, platform.source_messages(family, destination.ipv4, packed, index))


def _same(index: int, other: int, what: str) -> int:
    if index and index != other:
        raise ValueError(f"{what} is interface {other}, but the source's is {index}")
    return other
