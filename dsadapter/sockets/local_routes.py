"""Whether an address is this machine's by a route of type ``local`` alone (AnyIP), on Linux."""

from __future__ import annotations

import socket
import struct
import sys

_NETLINK_ROUTE = 0
_RTM_GETROUTE = 26
_RTM_NEWROUTE = 24
_NLM_F_REQUEST = 1
_RTA_DST = 1
_RTN_LOCAL = 2
_HEADER = struct.Struct("@IHHII")
# struct rtmsg: family, destination length, source length, TOS; table, protocol, scope, type; flags.
_ROUTE = struct.Struct("@8BI")
_ATTRIBUTE = struct.Struct("@HH")


def is_local(packed: bytes) -> bool:
    """Whether the kernel delivers what is sent to an address to this machine itself.

    Asks the kernel's routes (``rtnetlink(7)``); no packet is sent.

    :param packed: 4 or 16 bytes.
    :returns: False as well where that can't be found out.
    """
    if not sys.platform.startswith("linux"):
        return False
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    body = _ROUTE.pack(family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), _RTA_DST) + packed
    request = _HEADER.pack(_HEADER.size + len(body), _RTM_GETROUTE, _NLM_F_REQUEST, 0, 0) + body
    try:
        with socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_ROUTE
        ) as netlink:
            netlink.send(request)
            # The kernel has answered before send returns.
            answer = netlink.recv(4096)
    except OSError:
        return False
    if len(answer) < _HEADER.size + _ROUTE.size:
        return False
    kind = _HEADER.unpack_from(answer)[1]
    route_type = _ROUTE.unpack_from(answer, _HEADER.size)[7]
    return bool(kind == _RTM_NEWROUTE and route_type == _RTN_LOCAL)
