"""What is to become of a listener, decided when it begins to listen."""

from __future__ import annotations

import _socket
import socket
from collections.abc import Hashable
from typing import Any, Literal, NamedTuple

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.launcher.own_sockets import has, identity
from dsadapter.launcher.settings import Settings
from dsadapter.policy import ListenMode
from dsadapter.sockets.canonical import canonical_name, family_number
from dsadapter.sockets.options import read_v6only, shares_port

_INET, _INET6 = int(socket.AF_INET), int(socket.AF_INET6)
_name: Any = _socket.socket.getsockname

Kind = Literal["widen", "left", "translated", "merged"]

settled: dict[Hashable, tuple[Kind, str]] = {}
"""By the identity of a socket that has yet to listen: what it is, and why, decided elsewhere."""


class Decision(NamedTuple):
    """What to do with one listener."""

    kind: Kind
    mode: ListenMode
    """What it serves if nothing is done."""
    address: SocketAddress
    """Canonical."""
    why: str
    asked: bool
    """Whether the command asks for what is not done."""


def decide(sock: Any, settings: Settings, bound_here: bool) -> Decision:
    """Look at a stream socket that is about to listen.

    :param sock: of AF_INET or AF_INET6.
    :param bound_here: whether this very process has bound it: one that others may have, too, is
        not replaced.
    :raises OSError: as ``getsockname``.
    """
    raw = _name(sock)
    address = canonical_name(raw)
    host, port = address[:2]
    if family_number(sock) == _INET6:
        if raw is not address:
            return Decision("translated", "ipv4", address, "bound to an IPv4 address", False)
        if host != "::":
            return Decision("left", "ipv6", address, "bound to one address", False)
        dual = not read_v6only(sock)
        if (known := settled.pop(identity(sock.fileno()), None)) is not None:
            return Decision(known[0], "dual-stack" if dual else "ipv6", address, known[1], False)
        if dual:
            why = "the program serves both families"
            return Decision("translated", "dual-stack", address, why, False)
        mode: ListenMode = "ipv6"
        other, name = _INET, "0.0.0.0"
    else:
        if host != "0.0.0.0":
            return Decision("left", "ipv4", address, "bound to one address", False)
        if (known := settled.pop(identity(sock.fileno()), None)) is not None:
            return Decision(known[0], "ipv4", address, known[1], False)
        if not settings.widen:
            return Decision("left", "ipv4", address, "IPv4; --widen widens it", False)
        mode, other, name = "ipv4", _INET6, "[::]"
    if (option := settings.spares(port)) is not None:
        return Decision("left", mode, address, option, False)
    if port and has(other, port, shared=shares_port(sock)):
        return Decision("left", mode, address, f"the program has {name}:{port}, too", False)
    if not bound_here and port:
        return Decision("left", mode, address, "another process has bound it", True)
    return Decision("widen", mode, address, "asked for by dsadapter run", True)
