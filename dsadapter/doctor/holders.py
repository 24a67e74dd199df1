"""Who holds a port: sockets by the kernel's tables, and the processes that have them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from dsadapter.doctor.sock_diag import asked
from dsadapter.messages import printable
from dsadapter.policy import FAMILIES, Family, socket_name
from dsadapter.processes import process_numbers, sockets_of, unit_of
from dsadapter.sockets.kernel_tables import TIME_WAIT, UNCONNECTED
from dsadapter.sockets.port_table import FREE, PortEntry, listed

_PROC = "/proc"
_LONGEST_NAME = 32

T = TypeVar("T")


class Process(NamedTuple):
    """A process that has a descriptor of a socket."""

    number: int
    name: str
    unit: str
    """The systemd unit that it is of; empty for none."""

    def __str__(self) -> str:
        unit = f", {self.unit}" if self.unit else ""
        return f"{self.name} (pid {self.number}{unit})"


@dataclass(frozen=True, slots=True)
class Holder:
    """One socket on a port."""

    entry: PortEntry
    port: int
    kind: socket.SocketKind
    processes: tuple[Process, ...] = field(default=())
    """Those that this user may look at."""

    @property
    def is_mapped(self) -> bool:
        """Whether an IPv6 socket is bound to an IPv4-mapped address, and serves IPv4 alone."""
        return self.entry.family == "ipv6" and self.entry.host.startswith("::ffff:")

    @property
    def families(self) -> tuple[Family, ...]:
        """What it holds the port of. Of an IPv6 wildcard it may not be told: both then."""
        if self.entry.family == "ipv4":
            return ("ipv4",)
        if self.is_mapped:
            return ("ipv4",)
        if self.entry.host != "::" or self.entry.v6only:
            return ("ipv6",)
        return FAMILIES

    @property
    def free(self) -> bool:
        """Whether it has no peer: it listens, or takes datagrams of anybody."""
        return self.entry.state == FREE[self.kind]

    @property
    def bound_alone(self) -> bool:
        """Whether it is bound, and neither listens nor is connected."""
        return self.kind == socket.SOCK_STREAM and self.entry.state == UNCONNECTED

    @property
    def has_ended(self) -> bool:
        """Whether it is what is left of a connection."""
        return self.entry.state == TIME_WAIT

    @property
    def where(self) -> str:
        """As people write it, such as ``[::]:8080``, v6-only or not."""
        name = socket_name(self.entry.host, self.port)
        if self.entry.family == "ipv6" and self.entry.host == "::":
            how = {None: "", True: " (v6-only)", False: " (dual-stack)"}[self.entry.v6only]
            return name + how
        return name

    @property
    def who(self) -> str:
        """The processes, or what is known in their place."""
        if self.processes:
            shown = ", ".join(map(str, self.processes[:3]))
            more = len(self.processes) - 3
            return f"{shown} and {more} more" if more > 0 else shown
        return f"a process of user {self.entry.user} that can't be seen"


def holders(port: int, kind: socket.SocketKind) -> list[Holder]:
    """The sockets on a port, those that serve first.

    :raises OSError: where the system lists none.
    """
    entries = [entry for family in FAMILIES for entry in _of_family(port, kind, family)]
    entries.sort(key=lambda entry: (entry.state != FREE[kind], entry.family, entry.host))
    owners = _owners({entry.inode for entry in entries if entry.inode})
    return [Holder(e, port, kind, tuple(owners.get(e.inode, ()))) for e in entries]


def _of_family(port: int, kind: socket.SocketKind, family: Family) -> list[PortEntry]:
    ways: Iterable[Callable[[int, socket.SocketKind, Family], Iterator[PortEntry]]]
    ways = (asked, listed)
    failure: OSError | None = None
    for way in ways:
        try:
            return list(way(port, kind, family))
        except OSError as error:
            failure = failure or error
    if family == "ipv6" and os.path.exists(f"{_PROC}/net") and not os.path.exists("/proc/net/tcp6"):
        # The kernel has no IPv6.
        return []
    assert failure is not None
    raise failure


def _owners(inodes: set[int]) -> dict[int, list[Process]]:
    """The processes that have sockets, of those that this user may look at."""
    found: dict[int, list[Process]] = {}
    for number in process_numbers() if inodes else ():
        try:
            theirs = inodes & {*sockets_of(number).values()}
        except OSError:
            continue
        for inode in theirs:
            found.setdefault(inode, []).append(_process(number))
    return found


def _process(number: int) -> Process:
    name = printable(_read(f"{_PROC}/{number}/comm").strip() or "?", _LONGEST_NAME)
    return Process(number, name, str(unit_of(number) or ""))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="backslashreplace") as file:
            return file.read(4096)
    except OSError:
        return ""
