"""Who else is on a port: what keeps it from a listener, and what shares it with one.

Linux lets a dual-stack socket and an AF_INET one share a port with ``SO_REUSEPORT``, and then gives
every IPv4 connection to the AF_INET one, whichever came first (measured on 6.18). Neither is told.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace

from dsadapter.policy import DatagramPolicy, Family, ListenPolicy, socket_name
from dsadapter.sockets.options import (
    EXCLUSIVE_ADDRESS_USE,
    REUSE_ADDRESS,
    REUSE_PORT,
    set_option,
    set_v6only,
)
from dsadapter.sockets.port_table import FREE, listed

# Linux: bind to an address that is not there (ip(7), ipv6(7)); Python has no names for these.
_FREEBIND = (
    {
        socket.AF_INET: (socket.IPPROTO_IP, 15),
        socket.AF_INET6: (socket.IPPROTO_IPV6, 78),
    }
    if sys.platform.startswith("linux")
    else {}
)
# The discard-only prefix (RFC 6666) and TEST-NET-1 (RFC 5737): addresses that nobody listens on.
_NOBODYS = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "100::1"}
if sys.platform == "win32":
    # It binds to its own addresses alone, of which all of 127.0.0.0/8 are.
    _NOBODYS[socket.AF_INET] = "127.255.255.254"
_NUMBERS: dict[Family, socket.AddressFamily] = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_WILDCARD = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}
_LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
_NAME = {socket.AF_INET: "an IPv4 address", socket.AF_INET6: "an IPv6 address"}
_WSAEACCES = 10013
_WHAT_COMES = {socket.SOCK_STREAM: "connections", socket.SOCK_DGRAM: "datagrams"}


def says_held(error: OSError) -> bool:
    """Whether an error of binding may mean that another socket holds the address.

    On Windows WSAEACCES does where that one has ``SO_EXCLUSIVEADDRUSE``; it may also mean that the
    port is reserved.
    """
    return error.errno == errno.EADDRINUSE or getattr(error, "winerror", None) == _WSAEACCES


def port_holders(policy: ListenPolicy | DatagramPolicy) -> dict[Family, str]:
    """The address, as ``host:port``, that another socket holds on the policy's port, by family.

    Found by binding: nothing listens meanwhile. IPv4 comes first; empty if the port has become
    free.
    """
    if policy.mode in ("ipv4", "ipv6"):
        return {policy.mode: str(policy)}
    holders = {family: _holder(number, policy) for family, number in _NUMBERS.items()}
    return {family: holder for family, holder in holders.items() if holder is not None}


def sharing_conflict(policy: ListenPolicy | DatagramPolicy) -> str | None:
    """What is wrong with sharing the port of a policy, in words for its owner; None if nothing is
    known to be.

    To be asked before the policy's own sockets are bound. Linux only; nothing is sent.
    """
    if not policy.reuse_port or not policy.port or policy.mode == "ipv6":
        return None
    what_comes = _WHAT_COMES[policy.socket_type]
    try:
        others = sorted(set(_ipv4_holders(policy.port, policy.socket_type)))
    except OSError:
        return None
    if policy.mode == "ipv4":
        if others or not _all_ipv4_is_held(policy):
            return None
        return (
            f"a dual-stack socket listens on port {policy.port}, too; {policy} takes its IPv4 "
            f"{what_comes} from it. Close one of the two"
        )
    if policy.mode == "dual-stack" and others:
        return (
            f"{' and '.join(others)} of another socket shares the port with {policy} and takes its "
            f"IPv4 {what_comes} from it. Close that one, or make it dual-stack, too"
        )
    return None


def _all_ipv4_is_held(policy: ListenPolicy | DatagramPolicy) -> bool:
    """Whether a socket holds the policy's port for every IPv4 address: AF_INET or dual-stack.

    Found by binding, and only on a system that lets a probe bind to nobody's address.
    """
    family = socket.AF_INET
    alone = replace(policy, reuse_port=False)
    return family in _FREEBIND and _in_use(family, _NOBODYS[family], alone) is True


def _holder(family: socket.AddressFamily, policy: ListenPolicy | DatagramPolicy) -> str | None:
    if not _in_use(family, _WILDCARD[family], policy):
        return None
    # A wildcard holder conflicts with every address, a specific one only with its own.
    elsewhere = _in_use(family, _NOBODYS[family], policy)
    at_loopback = _in_use(family, _LOOPBACK[family], policy)
    if elsewhere is False or at_loopback is False:
        if at_loopback:
            return socket_name(_LOOPBACK[family], policy.port)
        return f"port {policy.port} of {_NAME[family]}"
    return socket_name(_WILDCARD[family], policy.port)


def _in_use(
    family: socket.AddressFamily, host: str, policy: ListenPolicy | DatagramPolicy
) -> bool | None:
    """None if binding fails for another reason."""
    try:
        with socket.socket(family, policy.socket_type) as sock:
            if family == socket.AF_INET6:
                set_v6only(sock, True)
            if freebind := _FREEBIND.get(family):
                sock.setsockopt(*freebind, 1)
            if isinstance(policy, ListenPolicy):
                set_option(sock, REUSE_ADDRESS, 1)
            if policy.reuse_port:
                set_option(sock, REUSE_PORT, 1)
            # Windows lets one bind without it beside an address of somebody else's.
            set_option(sock, EXCLUSIVE_ADDRESS_USE, 1)
            sock.bind((host, policy.port))
    except OSError as error:
        return says_held(error) or None
    return False


def _ipv4_holders(port: int, kind: socket.SocketKind) -> Iterator[str]:
    """The ``host:port`` of each AF_INET socket that has a port in this network namespace, and no
    peer.

    :raises OSError: where the system does not list them.
    """
    for entry in listed(port, kind, "ipv4"):
        if entry.state == FREE[kind]:
            yield socket_name(entry.host, port)
