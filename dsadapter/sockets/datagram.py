"""One datagram socket for one policy."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable

from dsadapter.policy import DatagramPolicy
from dsadapter.sockets.canonical import CanonicalSocket
from dsadapter.sockets.listening import bind_socket, explained
from dsadapter.sockets.options import (
    EXCLUSIVE_ADDRESS_USE,
    IPV4_DESTINATION,
    IPV4_HOP_LIMIT,
    IPV4_PACKET_INFO,
    IPV4_TRAFFIC_CLASS,
    IPV6_HOP_LIMIT,
    IPV6_PACKET_INFO,
    IPV6_TRAFFIC_CLASS,
    SocketOption,
    set_ipv4_option,
    set_option,
    set_v6only,
)

BeforeBind = Callable[[socket.socket, DatagramPolicy], None]
_Setter = Callable[[socket.socket, SocketOption, int], None]

_IPV4 = (IPV4_PACKET_INFO, IPV4_DESTINATION)
_IPV4_DETAILS = (IPV4_HOP_LIMIT, IPV4_TRAFFIC_CLASS)
_IPV6 = (IPV6_PACKET_INFO,)
_IPV6_DETAILS = (IPV6_HOP_LIMIT, IPV6_TRAFFIC_CLASS)
# macOS and the BSDs refuse these on an AF_INET6 socket; there IPV6_RECVPKTINFO serves IPv4 too.
_IPV6_SOCKET_TAKES_IPV4_OPTIONS = sys.platform.startswith("linux")


def open_datagram_socket(
    policy: DatagramPolicy, before_bind: BeforeBind | None = None, *, details: bool = False
) -> CanonicalSocket:
    """Create, configure and bind; on any failure nothing stays open.

    Packet information is asked for before bind, for every family that the socket serves. The
    address is never shared (``SO_REUSEADDR`` on UDP lets another socket take the datagrams).

    :param before_bind: called with the socket and the policy when all options are set; what it
        raises comes out of this function, and nothing stays open.
    :param details: ask for the hop limit and the traffic class of each datagram, too.
    :returns: a non-blocking, close-on-exec socket. For ``dual-stack`` it is AF_INET6 with
        ``IPV6_V6ONLY`` cleared before bind, for ``ipv6`` with it set, for ``ipv4`` AF_INET.
    :raises NotDualStackError: if this machine has no dual-stack sockets, with reason and remedy.
    :raises AddressFamilyError: if it has none of the one family that was asked for.
    :raises OSError: with the errno of the call that failed; its text names the address, and for
        EADDRINUSE which families and addresses are held.
    """
    family = socket.AF_INET if policy.mode == "ipv4" else socket.AF_INET6
    try:
        sock = CanonicalSocket(family, socket.SOCK_DGRAM)
    except OSError as error:
        raise explained(error, policy, creating=True) from error
    try:
        sock.setblocking(False)
        try:
            if family == socket.AF_INET6:
                set_v6only(sock, policy.mode == "ipv6")
        except OSError as error:
            raise explained(error, policy, creating=True) from error
        _ask_for_packet_info(sock, policy, details)
        set_option(sock, EXCLUSIVE_ADDRESS_USE, 1)
        if before_bind is not None:
            before_bind(sock, policy)
        try:
            bind_socket(sock, policy)
        except OSError as error:
            raise explained(error, policy) from error
    except BaseException:
        sock.close()
        raise
    return sock


def _ask_for_packet_info(sock: socket.socket, policy: DatagramPolicy, details: bool) -> None:
    options: list[tuple[_Setter, SocketOption]] = []
    if policy.mode != "ipv4":
        options += [(set_option, o) for o in (*_IPV6, *(_IPV6_DETAILS if details else ()))]
    if policy.mode == "ipv4" or (policy.mode == "dual-stack" and _IPV6_SOCKET_TAKES_IPV4_OPTIONS):
        options += [(set_ipv4_option, o) for o in (*_IPV4, *(_IPV4_DETAILS if details else ()))]
    for setter, option in options:
        try:
            setter(sock, option, 1)
        except OSError as error:
            raise OSError(
                error.errno, f"{option.name} can't be set: {error.strerror} ({policy})"
            ) from error
