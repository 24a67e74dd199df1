"""The kernel's tables of TCP sockets, of this network namespace (proc(5); Linux)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ESTABLISHED: Final = "01"
HANDSHAKE: Final = "03"
"""A client's SYN has come, and the last packet of its handshake not yet."""
CLOSE_WAIT: Final = "08"
ENDING: Final = ("04", "05", "06", "09", "0B")
"""FIN_WAIT1, FIN_WAIT2, TIME_WAIT, LAST_ACK, CLOSING: they hold the port for a while."""
LISTENING: Final = "0A"

_TABLES = {
    socket.AF_INET: Path("/proc/thread-self/net/tcp"),
    socket.AF_INET6: Path("/proc/thread-self/net/tcp6"),
}


class Row(NamedTuple):
    """One socket; an IPv4 connection of a dual-stack listener stays in IPv6's table."""

    family: socket.AddressFamily
    local: str
    """Address and port, as the table spells them."""
    remote: str
    state: str
    uid: int
    """Who made it."""
    inode: int
    """0 for one that nobody has a descriptor of."""

    @property
    def port(self) -> int:
        """The local port."""
        return int(self.local.rpartition(":")[2], 16)


def tcp_rows(*states: str) -> Iterator[Row]:
    """The sockets in some states.

    :raises OSError: where the system does not list them.
    """
    for family, path in _TABLES.items():
        try:
            table = path.open()
        except FileNotFoundError:
            # A kernel without that family.
            if not path.parent.is_dir():
                raise
            continue
        with table:
            next(table, None)
            for line in table:
                fields = line.split()
                if fields[3] in states:
                    yield Row(
                        family, fields[1], fields[2], fields[3], int(fields[7]), int(fields[9])
                    )
