"""Every socket option that the package sets, in one table."""

from __future__ import annotations

import errno
import os
import socket
import sys
from typing import Literal, NamedTuple

from dsadapter.errors import NotDualStackError


class SocketOption(NamedTuple):
    """One row: what to set, when, where, and why."""

    name: str
    level: int
    number: int | None
    """None where the platform does not have the option."""
    stage: Literal["before bind", "any time"]
    why: str


V6ONLY = SocketOption(
    "IPV6_V6ONLY",
    socket.IPPROTO_IPV6,
    # Missing from some builds of Python; Windows and the BSDs have 27, Linux 26.
    getattr(socket, "IPV6_V6ONLY", 26 if sys.platform.startswith("linux") else 27),
    "before bind",
    "the default is 1 on Windows and a system setting elsewhere (RFC 3493, section 5.3); "
    "after bind it is EINVAL",
)
REUSE_ADDRESS = SocketOption(
    "SO_REUSEADDR",
    socket.SOL_SOCKET,
    # On Windows it lets another process steal the port.
    socket.SO_REUSEADDR if os.name == "posix" and sys.platform != "cygwin" else None,
    "before bind",
    "a restart must not wait for connections in TIME_WAIT",
)
EXCLUSIVE_ADDRESS_USE = SocketOption(
    "SO_EXCLUSIVEADDRUSE",
    socket.SOL_SOCKET,
    getattr(socket, "SO_EXCLUSIVEADDRUSE", None),
    "before bind",
    "Windows lets a socket with SO_REUSEADDR bind over one without this",
)
REUSE_PORT = SocketOption(
    "SO_REUSEPORT",
    socket.SOL_SOCKET,
    getattr(socket, "SO_REUSEPORT", None),
    "before bind",
    "several processes share one port; only when asked for",
)
REUSE_PORT_FILTER = SocketOption(
    "SO_ATTACH_REUSEPORT_CBPF",
    socket.SOL_SOCKET,
    # Linux 4.5; Python has no name for it.
    51 if sys.platform.startswith("linux") else None,
    "any time",
    "a program that chooses among the sockets of a port; only for a handover",
)
NO_REUSE_PORT_FILTER = SocketOption(
    "SO_DETACH_REUSEPORT_BPF",
    socket.SOL_SOCKET,
    # Linux 5.3.
    68 if sys.platform.startswith("linux") else None,
    "any time",
    "takes that program away again",
)
PACKET_FILTER = SocketOption(
    "SO_ATTACH_FILTER",
    socket.SOL_SOCKET,
    # Python has no name for it.
    26 if sys.platform.startswith("linux") else None,
    "any time",
    "a program that chooses among the packets of a socket; only for a handover",
)
NO_PACKET_FILTER = SocketOption(
    "SO_DETACH_FILTER",
    socket.SOL_SOCKET,
    27 if sys.platform.startswith("linux") else None,
    "any time",
    "takes that program away again",
)
BIND_TO_INDEX = SocketOption(
    "SO_BINDTOIFINDEX",
    socket.SOL_SOCKET,
    # Linux 5.0; Python has no name for it.
    62 if sys.platform.startswith("linux") else None,
    "any time",
    "a socket bound to an interface that is not there gets nothing new; only for a handover",
)
BIND_TO_DEVICE = SocketOption(
    "SO_BINDTODEVICE",
    socket.SOL_SOCKET,
    getattr(socket, "SO_BINDTODEVICE", None),
    "before bind",
    "a wildcard listener serves one interface or VRF alone, both families (socket(7)); only when "
    "asked for",
)
BIND_ADDRESS_NO_PORT = SocketOption(
    "IP_BIND_ADDRESS_NO_PORT",
    socket.IPPROTO_IP,
    # Linux 4.2 (ip(7)); Python has no name for it. It works on AF_INET6 sockets, too.
    24 if sys.platform.startswith("linux") else None,
    "before bind",
    "a client bound to an address without a port gets one when it connects, of which there are "
    "many more; else bind takes one for itself",
)

ADDRESS_FORM = SocketOption(
    "IPV6_ADDRFORM",
    socket.IPPROTO_IPV6,
    # Python has no name for it.
    1 if sys.platform.startswith("linux") else None,
    "any time",
    "a connection with an IPv4 peer becomes an AF_INET one for every reader of its descriptor "
    "(ipv6(7)); only in ESTABLISHED, which its peer has a say in",
)

# Python has names for few of these: IP_PKTINFO from 3.14 on, IP_RECVTTL in no release.
_PLATFORM = "linux" if sys.platform.startswith("linux") else sys.platform.rstrip("0123456789")
IPV6_PACKET_INFO = SocketOption(
    "IPV6_RECVPKTINFO",
    socket.IPPROTO_IPV6,
    {"linux": 49, "darwin": 61, "freebsd": 36, "netbsd": 36, "openbsd": 36, "win": 19}.get(
        _PLATFORM
    ),
    "before bind",
    "destination and interface of each datagram (RFC 3542, section 6.2); one that is queued before "
    "the option is set has none",
)
IPV4_PACKET_INFO = SocketOption(
    "IP_PKTINFO",
    socket.IPPROTO_IP,
    {"linux": 8, "darwin": 26, "win": 19}.get(_PLATFORM),
    "before bind",
    "the same for IPv4, and the address to answer a multicast or a broadcast from",
)
IPV4_DESTINATION = SocketOption(
    "IP_RECVDSTADDR",
    socket.IPPROTO_IP,
    7 if _PLATFORM in ("freebsd", "netbsd", "openbsd") else None,
    "before bind",
    "the destination of each IPv4 datagram, where IP_PKTINFO is missing",
)
IPV4_HOP_LIMIT = SocketOption(
    "IP_RECVTTL",
    socket.IPPROTO_IP,
    {"linux": 12, "darwin": 24, "freebsd": 65, "netbsd": 23, "openbsd": 31, "win": 21}.get(
        _PLATFORM
    ),
    "before bind",
    "the TTL of each IPv4 datagram",
)
IPV6_HOP_LIMIT = SocketOption(
    "IPV6_RECVHOPLIMIT",
    socket.IPPROTO_IPV6,
    # On Windows the option has the message's name.
    getattr(socket, "IPV6_RECVHOPLIMIT", getattr(socket, "IPV6_HOPLIMIT", None)),
    "before bind",
    "the hop limit of each IPv6 datagram (RFC 3542, section 6.3)",
)
IPV4_TRAFFIC_CLASS = SocketOption(
    "IP_RECVTOS",
    socket.IPPROTO_IP,
    {"linux": 13, "darwin": 27, "freebsd": 68}.get(_PLATFORM),
    "before bind",
    "DSCP and ECN of each IPv4 datagram",
)
IPV6_TRAFFIC_CLASS = SocketOption(
    "IPV6_RECVTCLASS",
    socket.IPPROTO_IPV6,
    getattr(socket, "IPV6_RECVTCLASS", None),
    "before bind",
    "DSCP and ECN of each IPv6 datagram (RFC 3542, section 6.5)",
)
IPV6_FREEBIND = SocketOption(
    "IPV6_FREEBIND",
    socket.IPPROTO_IPV6,
    # Linux 4.15.
    78 if sys.platform.startswith("linux") else None,
    "any time",
    "an answer leaves from an address that is this machine's by a local route alone; set around "
    "that answer",
)
IPV4_MULTICAST_ALL = SocketOption(
    "IP_MULTICAST_ALL",
    socket.IPPROTO_IP,
    49 if sys.platform.startswith("linux") else None,
    "before bind",
    "else Linux gives an AF_INET socket what is sent to IPv4 groups that only others have joined",
)
IPV6_MULTICAST_ALL = SocketOption(
    "IPV6_MULTICAST_ALL",
    socket.IPPROTO_IPV6,
    # Linux 4.20.
    29 if sys.platform.startswith("linux") else None,
    "before bind",
    "the same for IPv6 groups and every AF_INET6 socket",
)
IPV4_MULTICAST_LOOP = SocketOption(
    "IP_MULTICAST_LOOP",
    socket.IPPROTO_IP,
    socket.IP_MULTICAST_LOOP,
    "any time",
    "whether this machine hears what it sends to an IPv4 group; only when asked for",
)
IPV6_MULTICAST_LOOP = SocketOption(
    "IPV6_MULTICAST_LOOP",
    socket.IPPROTO_IPV6,
    socket.IPV6_MULTICAST_LOOP,
    "any time",
    "the same for IPv6 groups: each family has its own",
)
IPV4_MULTICAST_HOPS = SocketOption(
    "IP_MULTICAST_TTL",
    socket.IPPROTO_IP,
    socket.IP_MULTICAST_TTL,
    "any time",
    "how many hops a datagram to an IPv4 group travels; only when asked for",
)
IPV6_MULTICAST_HOPS = SocketOption(
    "IPV6_MULTICAST_HOPS",
    socket.IPPROTO_IPV6,
    socket.IPV6_MULTICAST_HOPS,
    "any time",
    "the same for IPv6 groups: each family has its own",
)
IPV4_MULTICAST_INTERFACE = SocketOption(
    "IP_MULTICAST_IF",
    socket.IPPROTO_IP,
    socket.IP_MULTICAST_IF,
    "any time",
    "the interface on which datagrams to IPv4 groups leave; only when asked for",
)
IPV6_MULTICAST_INTERFACE = SocketOption(
    "IPV6_MULTICAST_IF",
    socket.IPPROTO_IPV6,
    socket.IPV6_MULTICAST_IF,
    "any time",
    "the same for IPv6 groups: each family has its own",
)


def _membership(name: str, linux: int, others: int, why: str) -> dict[bool, SocketOption]:
    """RFC 3678, section 5: one structure for both families, whose level is the group's."""
    number = {"linux": linux, "darwin": others, "freebsd": others}.get(_PLATFORM)
    return {
        ipv4: SocketOption(name, level, number, "any time", why)
        for ipv4, level in ((True, socket.IPPROTO_IP), (False, socket.IPPROTO_IPV6))
    }


# By whether the group is IPv4.
JOIN_GROUP = _membership("MCAST_JOIN_GROUP", 42, 80, "receive what is sent to a group")
LEAVE_GROUP = _membership("MCAST_LEAVE_GROUP", 45, 81, "receive it no more")
JOIN_SOURCE_GROUP = _membership(
    "MCAST_JOIN_SOURCE_GROUP", 46, 82, "receive what one source sends to a group"
)
LEAVE_SOURCE_GROUP = _membership("MCAST_LEAVE_SOURCE_GROUP", 47, 83, "receive it no more")

_SAYS_IPV4_IS_OFF = (
    errno.EINVAL,
    errno.EAFNOSUPPORT,
    errno.ENOPROTOOPT,
    getattr(errno, "WSAEINVAL", errno.EINVAL),
    getattr(errno, "WSAEAFNOSUPPORT", errno.EAFNOSUPPORT),
    getattr(errno, "WSAENOPROTOOPT", errno.ENOPROTOOPT),
)


def set_option(sock: socket.socket, option: SocketOption, value: int | bytes) -> None:
    """Set one option where the platform has it, or do nothing.

    :raises OSError: as ``setsockopt``.
    """
    if option.number is not None:
        sock.setsockopt(option.level, option.number, value)


def shares_port(sock: socket.socket) -> bool:
    """Whether a socket has ``SO_REUSEPORT``; False where the platform has no such option.

    :raises OSError: as ``getsockopt``.
    """
    level, number = REUSE_PORT.level, REUSE_PORT.number
    return number is not None and bool(sock.getsockopt(level, number))


def set_ipv4_option(sock: socket.socket, option: SocketOption, value: int | bytes) -> None:
    """Set an IPPROTO_IP option, which a dual-stack socket does not need where IPv4 is off.

    The option may fail for that reason or for another one; only an AF_INET socket that can't be
    made for want of the family tells the two apart ("Dual-Stack Sockets for IPv6 Winsock
    Applications"). Neither failure alone is enough.

    :raises OSError: as ``setsockopt``, unless IPv4 is off.
    """
    try:
        set_option(sock, option, value)
    except OSError as error:
        if (
            sock.family != socket.AF_INET6
            or error.errno not in _SAYS_IPV4_IS_OFF
            or not _ipv4_is_off()
        ):
            raise


def _ipv4_is_off() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError as error:
        return error.errno in (
            errno.EAFNOSUPPORT,
            getattr(errno, "WSAEAFNOSUPPORT", errno.EAFNOSUPPORT),
        )
    return False


# Every connect sets it.
assert V6ONLY.number is not None
_LEVEL, _V6ONLY = V6ONLY.level, V6ONLY.number


def set_v6only(sock: socket.socket, v6only: bool) -> None:
    """Set ``IPV6_V6ONLY`` on an unbound AF_INET6 socket and read it back.

    Reading back is not pedantry: some systems have accepted a cleared option and kept it set.

    :raises NotDualStackError: if the option can't be cleared.
    :raises OSError: if it can't be set.
    """
    wanted = 1 if v6only else 0
    try:
        sock.setsockopt(_LEVEL, _V6ONLY, wanted)
    except OSError as error:
        if v6only:
            raise
        raise NotDualStackError(
            f"IPV6_V6ONLY can't be cleared ({error.strerror})", error
        ) from error
    if sock.getsockopt(_LEVEL, _V6ONLY) != wanted:
        raise NotDualStackError(f"IPV6_V6ONLY was set to {wanted} but reads back otherwise")


def read_v6only(sock: socket.socket) -> bool | None:
    """What ``IPV6_V6ONLY`` is on a socket; None for one that is not AF_INET6.

    :raises OSError: as ``getsockopt``.
    """
    if sock.family != socket.AF_INET6:
        return None
    return bool(sock.getsockopt(_LEVEL, _V6ONLY))
