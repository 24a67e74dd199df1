"""What to do about an address that can't be used: the one place for listening, connecting and
datagrams.

The errors of the system are few, and each has several causes. What tells them apart is looked at
when an error has come, never before.
"""

from __future__ import annotations

import errno
import os
import socket

from dsadapter.addressing.literal import AddressLiteral, parse_literal
from dsadapter.addressing.mapped import PACKED_IPV4_LENGTH
from dsadapter.addressing.scope import needs_zone
from dsadapter.command_lines import command_line
from dsadapter.sockets.ifaddrs import interface_addresses
from dsadapter.sockets.system_settings import setting

_LOW_PORTS = 1024
_LOOPBACK = (b"\x7f\0\0\x01", bytes(15) + b"\x01")
_SHOWN = 3
"""How many addresses of this machine a text names."""

_UNUSABLE = (
    *(errno.EADDRNOTAVAIL, errno.EINVAL, errno.ENETUNREACH, errno.ENODEV),
    getattr(errno, "WSAEADDRNOTAVAIL", errno.EADDRNOTAVAIL),
)
_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL)
_FORBIDDEN = (errno.EACCES, errno.EPERM)


def remedy(
    error: OSError,
    *,
    local: tuple[str, int] | None = None,
    remote: tuple[str, int] | None = None,
) -> str | None:
    """Why an address can't be used and what to do, to follow an error's own text; None if that is
    not known.

    For the error of ``bind`` give ``local``, of ``connect`` and ``sendto`` give ``remote``, and of
    a datagram that is sent from a chosen address both: which of the two is to blame is found out.
    For a broadcast that the socket may not send, ask :func:`is_broadcast` first.

    :param local: the literal and the port to bind to, or to send from.
    :param remote: the literal and the port to connect or to send to.
    """
    if error.errno is None:
        return None
    told = None
    if local is not None:
        told = _about_local(error.errno, *local, chosen=remote is not None)
    if told is None and remote is not None:
        told = _about_remote(error.errno, remote[0])
    return told


def is_broadcast(host: str, port: int) -> bool:
    """Whether an IPv4 address is a broadcast one of a network of this machine, which a socket needs
    ``SO_BROADCAST`` for.

    To be asked after EACCES, which a route or a firewall may mean as well. Nothing is sent.
    """
    if ":" in host:
        return False
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            probe.connect((host, port))
    except OSError:
        return False
    return True


def _about_local(number: int, host: str, port: int, *, chosen: bool) -> str | None:
    """About an address to bind to or, chosen for one datagram, to send from."""
    if number in _FORBIDDEN and not chosen:
        return _about_low_port(port)
    literal = parse_literal(host)
    if literal is None or number not in _UNUSABLE or not any(literal.packed):
        return None
    if needs_zone(literal.packed) and not literal.zone:
        return _zone_missing(literal)
    if not literal.is_ipv4 and _ipv6_is_switched_off():
        return _SWITCHED_OFF
    try:
        addresses = [address for _, address in interface_addresses()]
    except (OSError, ImportError):
        return None
    if literal.packed not in addresses:
        return _not_ours(literal, addresses)
    if literal.is_ipv4 or number == errno.ENETUNREACH:
        return None
    return (
        f"{host} can't be used yet: it is tentative while the system asks whether another machine "
        f"has it, or its interface is down; look at '{command_line('addresses')}', and try again"
    )


def _about_remote(number: int, host: str) -> str | None:
    literal = parse_literal(host)
    if literal is None:
        return None
    if needs_zone(literal.packed) and not literal.zone and number in _UNUSABLE:
        return _zone_missing(literal)
    if number in _FORBIDDEN:
        look = command_line("prohibitions", host=host)
        return f"a route or a firewall of this machine prohibits {host}; look at '{look}'"
    if number not in _NO_WAY:
        return None
    if not literal.is_ipv4 and _ipv6_is_switched_off():
        return _SWITCHED_OFF
    if number == errno.ENETUNREACH:
        return f"this machine has no route to {host}; look at '{command_line('routes', host=host)}'"
    return None


def _zone_missing(literal: AddressLiteral) -> str:
    return f"a link-local address needs its interface: give '{literal}%{_zone(literal.packed)}'"


def _zone(packed: bytes) -> str:
    """The interface that has an address, else the first one that is not loopback."""
    try:
        rows = interface_addresses()
        names = [name for _, name in socket.if_nameindex()]
    except (OSError, ImportError):
        rows, names = [], []
    loopback = {name for name, address in rows if address in _LOOPBACK}
    likely = [name for name, address in rows if address == packed]
    likely += [name for name in names if name not in loopback]
    return likely[0] if likely else "INTERFACE"


def _not_ours(literal: AddressLiteral, addresses: list[bytes]) -> str:
    same = [
        AddressLiteral(packed, "")
        for packed in addresses
        if (len(packed) == PACKED_IPV4_LENGTH) == literal.is_ipv4 and not needs_zone(packed)
    ]
    if not same:
        family = "IPv4" if literal.is_ipv4 else "IPv6"
        return f"it is no address of this machine, which has none of {family}"
    shown = ", ".join(map(str, same[:_SHOWN])) + (", ..." if len(same) > _SHOWN else "")
    return f"it is no address of this machine, which has {shown}"


def _about_low_port(port: int) -> str | None:
    if os.name == "nt":
        # Its ports take no right; some are reserved.
        look = command_line("reserved", protocol="tcp")
        return f"another socket or the system has the port; look at '{look}'"
    lowest = setting("ipv4/ip_unprivileged_port_start")
    least = _LOW_PORTS if lowest is None else lowest
    if not 0 < port < least:
        return None
    if lowest is None:
        return f"a port below {least} takes the right of the superuser"
    return (
        f"a port below {least} takes the right to it: give the program CAP_NET_BIND_SERVICE "
        f"(systemd: AmbientCapabilities=), or lower net.ipv4.ip_unprivileged_port_start"
    )


_SWITCHED_OFF = (
    "IPv6 is switched off on this machine; set net.ipv6.conf.all.disable_ipv6 to 0, or give an "
    "IPv4 address"
)


def _ipv6_is_switched_off() -> bool:
    """Whether no interface may have an IPv6 address, loopback included."""
    return any(setting(f"ipv6/conf/{which}/disable_ipv6") == 1 for which in ("all", "lo"))
