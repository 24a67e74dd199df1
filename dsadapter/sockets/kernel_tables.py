"""The kernel's tables of sockets, of this network namespace (proc(5); Linux)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from dsadapter.policy import FAMILIES, Family

# As the kernel numbers them (include/net/tcp_states.h).
ESTABLISHED: Final = 1
HANDSHAKE: Final = 3
"""A client's SYN has come, and the last packet of its handshake not yet (``TCP_SYN_RECV``)."""
TIME_WAIT: Final = 6
"""What is left of a TCP connection that has ended; no process has it."""
UNCONNECTED: Final = 7
"""A UDP socket that any peer may send to, and a TCP socket that is bound alone (``TCP_CLOSE``)."""
CLOSE_WAIT: Final = 8
ENDING: Final = (4, 5, TIME_WAIT, 9, 11)
"""FIN_WAIT1, FIN_WAIT2, TIME_WAIT, LAST_ACK, CLOSING: they hold the port for a while."""
LISTENING: Final = 10

_TABLES = {socket.SOCK_STREAM: "tcp", socket.SOCK_DGRAM: "udp"}
_SUFFIX: dict[Family, str] = {"ipv4": "", "ipv6": "6"}
# Of the thread, which may be in another namespace than its process.
_NET = Path("/proc/thread-self/net")


class Row(NamedTuple):
    """One socket; an IPv4 connection of a dual-stack listener stays in IPv6's table."""

    family: Family
    local: str
    """Address and port, as the table spells them."""
    remote: str
    state: int
    uid: int
    """Who made it."""
    inode: int
    """0 for one that nobody has a descriptor of."""

    @property
    def port(self) -> int:
        """The local port."""
        return int(self.local.rpartition(":")[2], 16)


def rows(kind: socket.SocketKind, family: Family) -> Iterator[Row]:
    """All sockets of one kind and one family.

    :raises OSError: where the system lists none; a family that is off has no table.
    """
    # ASCII's codec may not be loaded yet, and out of reach by now.
    with (_NET / f"{_TABLES[kind]}{_SUFFIX[family]}").open(encoding="utf-8") as table:
        next(table, None)
        for line in table:
            _slot, local, remote, state, _queues, _timer, _resent, user, _, inode, *_ = line.split()
            yield Row(family, local, remote, int(state, 16), int(user), int(inode))


def tcp_rows(*states: int) -> Iterator[Row]:
    """The TCP sockets of both families in some states.

    :raises OSError: where the system does not list them.
    """
    for family in FAMILIES:
        try:
            yield from (row for row in rows(socket.SOCK_STREAM, family) if row.state in states)
        except FileNotFoundError:
            # A kernel without that family.
            if not _NET.is_dir():
                raise
