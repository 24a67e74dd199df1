"""What an address that a program binds means: which wildcard, or which loopback address."""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address


class Host(Enum):
    """What a listener is bound to."""

    ANY4 = "0.0.0.0"
    ANY6 = "::"
    #: An IPv4 and an IPv6 socket, as asyncio opens for no host.
    BOTH = "both wildcards"
    LOOPBACK4 = "127.0.0.1"
    LOOPBACK6 = "::1"
    OTHER = "another address"
    UNKNOWN = "what is not known here"

    @property
    def counterpart(self) -> Host | None:
        """The same for the other family."""
        return _COUNTERPARTS.get(self)

    @property
    def wildcard(self) -> bool:
        """Whether it is every address of a family."""
        return self in (Host.ANY4, Host.ANY6)


_COUNTERPARTS = {
    Host.ANY4: Host.ANY6,
    Host.ANY6: Host.ANY4,
    Host.LOOPBACK4: Host.LOOPBACK6,
    Host.LOOPBACK6: Host.LOOPBACK4,
}


def host_of(value: object, empty: Host) -> Host:
    """Classify a literal host.

    :param value: a constant of the program.
    :param empty: what no address means where it is passed.
    """
    if value is None or value in ("", b""):
        return empty
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if not isinstance(value, str):
        return Host.UNKNOWN
    try:
        address = ip_address(value.strip("[]").partition("%")[0])
    except ValueError:
        return Host.OTHER
    if address.is_unspecified and "%" in value:
        return Host.OTHER
    if address.is_unspecified:
        return Host.ANY4 if isinstance(address, IPv4Address) else Host.ANY6
    if address in (IPv4Address("127.0.0.1"), IPv6Address("::1")):
        return Host.LOOPBACK4 if isinstance(address, IPv4Address) else Host.LOOPBACK6
    return Host.OTHER


def pairs(hosts: list[Host]) -> Host | None:
    """Which pair several hosts hold: ``ANY6`` for both wildcards, ``LOOPBACK6`` for loopback."""
    for host in (Host.ANY6, Host.LOOPBACK6):
        if host in hosts and host.counterpart in hosts:
            return host
    return None


def host_and_port(text: str) -> tuple[Host, str] | None:
    """Split ``0.0.0.0:80``, ``[::]:80``, ``:80`` or ``*:80``; None for anything else."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        return None
    if host == "*":
        host = ""
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        return None
    found = host_of(host, Host.ANY4)
    return None if found is Host.OTHER and not _numeric(host) else (found, port)


def _numeric(host: str) -> bool:
    try:
        ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True


def host_in_family(value: object, ipv6: bool) -> Host:
    """Classify a literal host of a socket whose family is known."""
    return Host.UNKNOWN if value is ... else host_of(value, Host.ANY6 if ipv6 else Host.ANY4)
