"""Sockets that an application gives: a descriptor is believed, an object is not."""

from __future__ import annotations

import socket
import sys
from typing import TypeVar

from dsadapter.sockets.binding import is_bound, is_listening
from dsadapter.sockets.canonical import CanonicalSocket, PlainSocket

S = TypeVar("S", bound=CanonicalSocket)

_INTERNET = (socket.AF_INET, socket.AF_INET6)
_NAMES = {socket.SOCK_STREAM: "TCP", socket.SOCK_DGRAM: "UDP"}


def taken_over(
    sock: socket.socket, kind: type[S], state: str, type_: int = socket.SOCK_STREAM
) -> S:
    """A socket as a canonical one, non-blocking, which takes its place.

    :param kind: what it is from now on, unless it is that already; the rest, and what is raised, as
        for :func:`check_given`, where it stays the caller's.
    """
    check_given(sock, state, type_)
    if isinstance(sock, kind):
        taken = sock
    elif is_bound(sock):
        taken = kind(fileno=sock.detach())
    else:
        # Windows, which finds the family of a descriptor by its name, has none yet.
        family, type_, proto = sock.family, sock.type, sock.proto
        taken = kind(family, type_, proto, sock.detach())
    taken.setblocking(False)
    return taken


def check_given(sock: socket.socket, state: str, type_: int = socket.SOCK_STREAM) -> None:
    """Check that a socket is one that can be served.

    :param state: which one it is to be in, such as ``bound``; for the error.
    :param type_: ``SOCK_STREAM`` or ``SOCK_DGRAM``.
    :raises TypeError: if it is no socket, or one that ``ssl`` has wrapped.
    :raises ValueError: if it is of another type, of another family than IPv4 and IPv6, or in
        another state.
    :raises OSError: if it is closed.
    """
    wanted = f"give a {state} {_NAMES[socket.SocketKind(type_)]} socket"
    if not isinstance(sock, socket.socket):
        raise TypeError(f"sock {sock!r} is not a socket; {wanted}")
    # Without ssl nobody has wrapped one.
    if "ssl" in sys.modules and isinstance(sock, sys.modules["ssl"].SSLSocket):
        raise TypeError(f"sock {sock!r} has TLS on it; {wanted} and ssl=, with the context")
    family, its_type = sock.family, sock.type
    if is_bound(sock):
        # The descriptor may be another family's than the object says.
        seen = PlainSocket(fileno=sock.fileno())
        family, its_type = seen.family, seen.type
        seen.detach()
    if its_type != type_ or family not in _INTERNET:
        raise ValueError(f"sock {sock!r} is {its_type.name} of {family.name}; {wanted}")
    if type_ == socket.SOCK_STREAM and (said := _of_another_state(sock, state)):
        raise ValueError(f"sock {sock!r} {said}; {wanted}")


def _of_another_state(sock: socket.socket, state: str) -> str | None:
    """What keeps a stream socket from being used; None for nothing."""
    if state == "connected":
        # One whose peer has reset the connection has no peer either, but an address of its own.
        if not is_bound(sock) or not sock.getsockname()[1]:
            return "is not connected"
        return "listens" if is_listening(sock) else None
    try:
        sock.getpeername()
    except OSError:
        return None
    return "is connected"
