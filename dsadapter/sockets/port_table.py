"""What Linux lists of the sockets on a port, without binding to it (proc(5))."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from dsadapter.policy import Family
from dsadapter.sockets.kernel_tables import LISTENING, UNCONNECTED, rows

FREE = {socket.SOCK_STREAM: LISTENING, socket.SOCK_DGRAM: UNCONNECTED}
"""The state of a socket that has no peer, and takes what comes."""


class PortEntry(NamedTuple):
    """One socket on a port."""

    family: Family
    """The socket's own: a dual-stack one is ``ipv6``."""
    host: str
    """What it is bound to, as the kernel writes it: a mapped address stays one."""
    state: int
    """As the kernel numbers them."""
    inode: int
    """What its descriptors link to, as ``socket:[inode]``; 0 if no process has it."""
    user: int
    v6only: bool | None = None
    """Whether an IPv6 one serves IPv6 alone; None where that isn't told."""
    interface: int = 0
    """The index of the interface that it is bound to; 0 for all."""


def listed(port: int, kind: socket.SocketKind, family: Family) -> Iterator[PortEntry]:
    """The sockets of one family on a port, in this network namespace.

    Not listed: a TCP socket that is bound and neither listens nor is connected.

    :raises OSError: where the system lists none; a family that is off has no table.
    """
    for row in rows(kind, family):
        if row.port == port:
            host = _host(row.local.partition(":")[0])
            yield PortEntry(family, host, row.state, row.inode, row.uid)


def _host(digits: str) -> str:
    """Of an address as words of the machine's own byte order."""
    words = [int(digits[i : i + 8], 16) for i in range(0, len(digits), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words))
