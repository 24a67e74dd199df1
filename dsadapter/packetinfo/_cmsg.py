"""What control messages say. Pure.

Whatever a kernel delivers is told by content: which messages come for an IPv4 datagram on an
AF_INET6 socket, and in which order, differs between systems and with the options that are set.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from dsadapter.addressing.mapped import MAPPED_PREFIX, PACKED_IPV4_LENGTH
from dsadapter.addressing.scope import is_group, is_link_local
from dsadapter.sockets.control_messages import Message

Facts = Mapping[str, int | bytes]
"""What one message says: ``ipv4`` and ``ipv6``, the destination; ``source``, the IPv4 address to
answer from; ``ipv4_interface`` and ``ipv6_interface``; ``hop_limit``; ``traffic_class``."""

Decoder = Callable[[bytes], Facts | None]
"""Reads the data of one type of message; None if it has not the length that it must have."""

IPv4Message = Literal["always", "not asked for", "never"]
"""Whether an IPv4 datagram brings a message of IPv4's own to an AF_INET6 socket, as no IPv6 one
does."""

_UNSPECIFIED = (bytes(4), bytes(16))


class Arrival(NamedTuple):
    """Where a datagram arrived, and how an answer is to leave."""

    destination: bytes
    """The address that it was sent to, 4 bytes if it was an IPv4 datagram, else 16; the group if it
    was sent to one."""
    interface: int
    """The index of the interface that it came in by; 0 if that is not known."""
    source: bytes | None
    """The address to answer from, of the destination's family; None for the system to choose."""
    source_interface: int
    """The index of the interface to answer by; 0 for the system to choose."""
    hop_limit: int | None
    traffic_class: int | None
    by_ipv4: bool
    """Whether a message of IPv4's own said so, not one of IPv6's with a mapped destination."""


def read(
    messages: Iterable[Message], decoders: Mapping[tuple[int, int], Decoder]
) -> Arrival | None:
    """What the control messages of one datagram say, in whatever order they are.

    :param messages: those of other kinds, and those of a wrong length, say nothing.
    :param decoders: the platform's, by level and type.
    :returns: None for no packet information: no message has any, the destination is unspecified (a
        datagram that was queued before the option was set), or two messages contradict each other.
    """
    facts: dict[str, int | bytes] = {}
    for level, kind, data in messages:
        decoder = decoders.get((level, kind))
        said = decoder(data) if decoder is not None else None
        for name, value in (said or {}).items():
            if facts.setdefault(name, value) != value:
                return None
    return _arrival(facts)


def _arrival(facts: dict[str, int | bytes]) -> Arrival | None:
    ipv4 = facts.get("ipv4")
    ipv6 = facts.get("ipv6")
    by_ipv4 = ipv4 is not None
    if isinstance(ipv6, bytes) and ipv6.startswith(MAPPED_PREFIX):
        inside = ipv6[len(MAPPED_PREFIX) :]
        if ipv4 not in (None, inside):
            return None
        ipv4, ipv6 = inside, None
    if ipv4 is not None and ipv6 is not None:
        return None
    destination = ipv4 if ipv4 is not None else ipv6
    if not isinstance(destination, bytes) or destination in _UNSPECIFIED:
        return None
    interface = _number(facts.get("ipv6_interface")) or 0
    if ipv4 is not None:
        interface = _number(facts.get("ipv4_interface")) or interface
    source = facts.get("source", destination) if ipv4 is not None else destination
    assert isinstance(source, bytes)
    usable = source not in _UNSPECIFIED and not is_group(source)
    # Routing is to decide, but where the address alone does not say on which network it is.
    local = is_link_local(source) or not usable or source != destination
    return Arrival(
        destination,
        interface,
        source if usable else None,
        interface if local else 0,
        _number(facts.get("hop_limit")),
        _number(facts.get("traffic_class")),
        by_ipv4,
    )


def reason_to_distrust(
    mapped: bool, arrival: Arrival | None, ipv4_message: IPv4Message
) -> Literal["forged", "without_packet_info"] | None:
    """Why a datagram of a dual-stack AF_INET6 socket may not come from whom its source names.

    :param mapped: whether the source is IPv4-mapped. That alone proves nothing: systems deliver
        IPv6 packets with such a source, and, where they hold a mapped address, to a mapped
        destination (draft-itojun-v6ops-v4mapped-harmful).
    :param arrival: what the control messages say.
    :param ipv4_message: whether real IPv4 brings a message of its own to this socket.
    :returns: the name of the counter; None for a datagram that is what it seems to be.
    """
    if arrival is None:
        return "without_packet_info" if mapped else None
    if mapped != (len(arrival.destination) == PACKED_IPV4_LENGTH):
        return "forged"
    if not mapped or arrival.by_ipv4 or ipv4_message == "never":
        return None
    # Where it was not asked for, real IPv4 can't be told from what is forged.
    return "forged" if ipv4_message == "always" else "without_packet_info"


def _number(value: int | bytes | None) -> int | None:
    return value if isinstance(value, int) else None


def number(name: str, *formats: str) -> Decoder:
    """A decoder for a message that is one number.

    :param name: the fact.
    :param formats: the ``struct`` formats that it may have, each of another length.
    """
    structs = {made.size: made for made in map(struct.Struct, formats)}

    def decode(data: bytes) -> Facts | None:
        made = structs.get(len(data))
        return None if made is None else {name: made.unpack(data)[0]}

    return decode


_IN6_PKTINFO = struct.Struct("@16sI")


def ipv6_packet_info(data: bytes) -> Facts | None:
    """``struct in6_pktinfo`` (RFC 3542, section 6.2): the destination, mapped for an IPv4 datagram,
    and the index of the interface."""
    if len(data) != _IN6_PKTINFO.size:
        return None
    address, interface = _IN6_PKTINFO.unpack(data)
    return {"ipv6": address, "ipv6_interface": interface}


def ipv6_source(source: bytes | None, interface: int) -> bytes:
    """``struct in6_pktinfo`` to send with; ``source`` has 16 bytes."""
    return _IN6_PKTINFO.pack(source or bytes(16), interface)


_IN_PKTINFO = struct.Struct("@I4s4s")


def ipv4_packet_info(data: bytes) -> Facts | None:
    """``struct in_pktinfo`` of Linux and macOS (``ip(7)``): the index of the interface, the address
    to answer from, and the destination in the IP header."""
    if len(data) != _IN_PKTINFO.size:
        return None
    interface, source, destination = _IN_PKTINFO.unpack(data)
    facts: Facts = {"ipv4": destination, "ipv4_interface": interface}
    # Linux knows the destination alone of a datagram that was queued before the option was set.
    return facts if source in _UNSPECIFIED else {**facts, "source": source}


def ipv4_source(source: bytes | None, interface: int) -> bytes:
    """``struct in_pktinfo`` to send with; ``source`` has 4 bytes."""
    return _IN_PKTINFO.pack(interface, source or bytes(4), bytes(4))
