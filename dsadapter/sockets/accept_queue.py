"""How many connections wait for a listening socket, without accepting any (Linux)."""

from __future__ import annotations

import errno
import socket
import struct
from typing import NamedTuple

# struct tcp_info of linux/tcp.h: of a listening socket tcpi_unacked is the length of its queue, and
# tcpi_sacked its limit (tcp_get_info).
_LENGTH_AND_LIMIT = struct.Struct("=24xII")


class AcceptQueue(NamedTuple):
    """The queue of a listening socket."""

    length: int
    """How many connections wait to be accepted."""
    limit: int
    """How many may, as ``listen`` was told."""


def accept_queue(sock: socket.socket) -> AcceptQueue:
    """The queue of a listening TCP socket.

    :raises OSError: ``EOPNOTSUPP`` where the system does not tell.
    """
    option = getattr(socket, "TCP_INFO", None)
    if option is not None:
        info = sock.getsockopt(socket.IPPROTO_TCP, option, _LENGTH_AND_LIMIT.size)
        if len(info) == _LENGTH_AND_LIMIT.size:
            return AcceptQueue(*_LENGTH_AND_LIMIT.unpack(info))
    raise OSError(
        errno.EOPNOTSUPP, "this system does not tell how many connections wait (TCP_INFO)"
    )
