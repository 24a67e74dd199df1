"""Where a socket is bound, and whether another is bound to take its place."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import NamedTuple

from dsadapter.handover.looking import inode, looked_at
from dsadapter.policy import socket_name
from dsadapter.sockets.binding import is_listening
from dsadapter.sockets.canonical import canonical_name
from dsadapter.sockets.handing_on import HasDescriptor
from dsadapter.sockets.options import BIND_TO_INDEX, read_v6only, shares_port

_WILDCARDS = ("0.0.0.0", "::")


class Place(NamedTuple):
    """Where a socket is bound. Linux keeps one group of ``SO_REUSEPORT`` for each."""

    kind: int
    family: int
    host: str
    """As the kernel names it."""
    port: int
    v6only: bool | None

    def __str__(self) -> str:
        name = socket_name(canonical_name((self.host, self.port, 0, 0))[0], self.port)
        return f"{name} (dual-stack)" if self.dual_stack else name

    @property
    def dual_stack(self) -> bool:
        """Whether it serves both families."""
        return self.host == "::" and self.v6only is False

    @property
    def serves(self) -> frozenset[tuple[str, str]]:
        """Each family that it serves, and the address, which is empty for every one."""
        host = canonical_name((self.host, self.port, 0, 0))[0]
        address = "" if host in _WILDCARDS else host
        served = {("ipv6" if ":" in host else "ipv4", address)}
        return frozenset(served | ({("ipv4", "")} if self.dual_stack else set()))


def place_of(sock: HasDescriptor) -> Place:
    """Where a socket is bound.

    :raises OSError: for what is no socket of either family.
    """
    with looked_at(sock) as looked:
        if looked.family not in (socket.AF_INET, socket.AF_INET6):
            raise OSError(
                errno.EAFNOSUPPORT,
                f"descriptor {sock.fileno()} is no IPv4 or IPv6 socket; name one that is",
            )
        host, port = looked.getsockname()[:2]
        return Place(looked.type, looked.family, host, port, read_v6only(looked))


def group_of(sock: HasDescriptor) -> Place | None:
    """The group of ``SO_REUSEPORT`` that a socket is in; None for none."""
    with looked_at(sock) as looked:
        shares = shares_port(looked)
    return place_of(sock) if shares else None


def receives(sock: HasDescriptor) -> bool:
    """Whether what is sent to where it is bound comes to it: it listens, and no interface, there
    or not, is all that it hears."""
    with looked_at(sock) as looked:
        if looked.type == socket.SOCK_STREAM and not is_listening(looked):
            return False
        return not (bound_index(looked) or 0) and place_of(sock).port > 0


def bound_index(sock: socket.socket) -> int | None:
    """The number of the interface that a socket is bound to, 0 for none; None where the system
    can't tell."""
    if BIND_TO_INDEX.number is None:
        return None
    try:
        return sock.getsockopt(BIND_TO_INDEX.level, BIND_TO_INDEX.number)
    except OSError:
        return None


def not_served(old: Sequence[Place], new: Sequence[Place]) -> list[str]:
    """What the old ones serve and none of the new ones, in words."""
    missing = []
    for place in old:
        for family, address in sorted(place.serves):
            if not any(
                each.kind == place.kind
                and each.port == place.port
                and ({(family, ""), (family, address)} & each.serves)
                for each in new
            ):
                host = address or {"ipv4": "0.0.0.0", "ipv6": "::"}[family]
                missing.append(socket_name(host, place.port))
    return list(dict.fromkeys(missing))


def require_successors(old: Sequence[HasDescriptor], new: Sequence[HasDescriptor]) -> None:
    """Check that what comes to the old sockets would come to the new ones without them.

    :raises OSError: ``EADDRNOTAVAIL``, naming what none of the new ones serves.
    """
    inodes = {inode(sock) for sock in old}
    ready = [place_of(sock) for sock in new if inode(sock) not in inodes and receives(sock)]
    if missing := not_served([place_of(sock) for sock in old], ready):
        raise OSError(
            errno.EADDRNOTAVAIL,
            f"no new socket listens on {' and '.join(missing)}, whose connections would be "
            f"refused; have one listen first",
        )
