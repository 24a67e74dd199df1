"""Sockets that an application gives: a descriptor is believed, an object is not."""

from __future__ import annotations

import socket
from typing import TypeVar

from dsadapter.sockets.canonical import CanonicalSocket

S = TypeVar("S", bound=CanonicalSocket)


def taken_over(sock: socket.socket, kind: type[S], wanted: str) -> S:
    """A stream socket as a canonical one, non-blocking, which takes its place.

    :param kind: what it is from now on, unless it is that already.
    :param wanted: which state it is to be in, such as ``bound``; for the error.
    :raises ValueError: if it is no stream socket; it stays the caller's then.
    """
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"sock {sock!r} is not a stream socket; give a {wanted} TCP socket")
    # Without a family, because the descriptor may be another family's than the object says.
    taken = sock if isinstance(sock, kind) else kind(fileno=sock.detach())
    taken.setblocking(False)
    return taken
