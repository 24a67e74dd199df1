"""What the kernel says of the sockets on a port when it is asked (sock_diag(7)).

Beside what proc(5) lists it knows sockets that are bound alone (Linux 6.8), and whether an IPv6 one
is v6-only.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import closing

from dsadapter.policy import Family
from dsadapter.sockets.kernel_tables import UNCONNECTED
from dsadapter.sockets.port_table import PortEntry

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_BYTECODE = 1
_SOURCE_PORT_IS = 11
_SKV6ONLY = 11
_BOUND_INACTIVE = 13
_ALL_STATES = (1 << (_BOUND_INACTIVE + 1)) - 1
_SECONDS = 3
_MOST = 1 << 16
_SOCKET_ID = 48
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI")
# struct inet_diag_msg: family, state, timer, retransmissions, the id, expires, both queues, owner.
_MESSAGE = struct.Struct("=BBBB2s2s16s16sI8sIIIII")
_ATTRIBUTE = struct.Struct("=HH")
_PROTOCOLS = {
    socket.SOCK_STREAM: socket.IPPROTO_TCP,
    socket.SOCK_DGRAM: socket.IPPROTO_UDP,
}
_FAMILIES: dict[Family, int] = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


def asked(port: int, kind: socket.SocketKind, family: Family) -> Iterator[PortEntry]:
    """The sockets of one family on a port, in this network namespace.

    :raises OSError: where the system answers no such question.
    """
    number = _FAMILIES[family]
    # Two operations: the port of the socket itself is this one, else leave it out.
    code = struct.pack("=BBHBBH", _SOURCE_PORT_IS, 8, 12, 0, 0, port)
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(code), _BYTECODE) + code
    request = _REQUEST.pack(number, _PROTOCOLS[kind], 0, _ALL_STATES) + bytes(_SOCKET_ID)
    payload = request + attribute
    header = _HEADER.pack(
        _HEADER.size + len(payload), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0
    )
    if not hasattr(socket, "AF_NETLINK"):
        raise OSError("this system has no netlink")
    with closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)) as netlink:
        netlink.settimeout(_SECONDS)
        netlink.sendto(header + payload, (0, 0))
        while True:
            for kind_of_message, body in _messages(netlink.recv(_MOST)):
                if kind_of_message == _NLMSG_DONE:
                    return
                if kind_of_message == _NLMSG_ERROR:
                    code_of_error = -struct.unpack_from("=i", body)[0]
                    raise OSError(code_of_error, os.strerror(code_of_error))
                entry = _entry(body, port, family)
                if entry is not None:
                    yield entry


def _messages(received: bytes) -> Iterator[tuple[int, bytes]]:
    while len(received) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(received)
        if length < _HEADER.size:
            return
        yield kind, received[_HEADER.size : length]
        received = received[_aligned(length) :]


def _entry(body: bytes, port: int, family: Family) -> PortEntry | None:
    fields = _MESSAGE.unpack_from(body)
    _, state, _, _, own_port, _, host, _, interface, _, _, _, _, user, inode = fields
    # An old kernel knows no such operation, and then leaves nothing out.
    if int.from_bytes(own_port, "big") != port:
        return None
    number = _FAMILIES[family]
    shown = socket.inet_ntop(number, host[:4] if number == socket.AF_INET else host)
    v6only = None
    attributes = body[_MESSAGE.size :]
    while len(attributes) > _ATTRIBUTE.size:
        length, name = _ATTRIBUTE.unpack_from(attributes)
        if name == _SKV6ONLY:
            v6only = bool(attributes[_ATTRIBUTE.size])
        if length < _ATTRIBUTE.size:
            break
        attributes = attributes[_aligned(length) :]
    if state == _BOUND_INACTIVE:
        state = UNCONNECTED
    return PortEntry(family, shown, state, inode, user, v6only, interface)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
