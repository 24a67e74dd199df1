"""Every socket option that the package sets, in one table."""

from __future__ import annotations

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
    stage: Literal["before bind"]
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
BIND_ADDRESS_NO_PORT = SocketOption(
    "IP_BIND_ADDRESS_NO_PORT",
    socket.IPPROTO_IP,
    # Linux 4.2 (ip(7)); Python has no name for it. It works on AF_INET6 sockets, too.
    24 if sys.platform.startswith("linux") else None,
    "before bind",
    "a client bound to an address without a port gets one when it connects, of which there are "
    "many more; else bind takes one for itself",
)


def set_option(sock: socket.socket, option: SocketOption, value: int) -> None:
    """Set one option where the platform has it, or do nothing.

    :raises OSError: as ``setsockopt``.
    """
    if option.number is not None:
        sock.setsockopt(option.level, option.number, value)


def set_v6only(sock: socket.socket, v6only: bool) -> None:
    """Set ``IPV6_V6ONLY`` on an unbound AF_INET6 socket and read it back.

    Reading back is not pedantry: some systems have accepted a cleared option and kept it set.

    :raises NotDualStackError: if the option can't be cleared.
    :raises OSError: if it can't be set.
    """
    assert V6ONLY.number is not None
    try:
        sock.setsockopt(V6ONLY.level, V6ONLY.number, int(v6only))
    except OSError as error:
        if v6only:
            raise
        raise NotDualStackError(
            f"IPV6_V6ONLY can't be cleared ({error.strerror})", error
        ) from error
    if read_v6only(sock) != v6only:
        raise NotDualStackError(f"IPV6_V6ONLY was set to {int(v6only)} but reads back otherwise")


def read_v6only(sock: socket.socket) -> bool | None:
    """What ``IPV6_V6ONLY`` is on a socket; None for one that is not AF_INET6.

    :raises OSError: as ``getsockopt``.
    """
    if sock.family != socket.AF_INET6:
        return None
    assert V6ONLY.number is not None
    return bool(sock.getsockopt(V6ONLY.level, V6ONLY.number))
