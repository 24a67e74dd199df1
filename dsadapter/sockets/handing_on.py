"""A connection whose bare descriptor goes to somebody who reads the kernel's names."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from dsadapter.sockets.canonical import canonical_name, take_ipv4_form

__all__ = ["native_ipv4"]


class HasDescriptor(Protocol):
    """A socket, of whatever class."""

    def fileno(self) -> int:
        """The number of its descriptor."""


def native_ipv4(connection: HasDescriptor | int) -> bool:
    """Make a connection with an IPv4 peer an AF_INET one, for every reader of its descriptor: a
    child process, a C library (``IPV6_ADDRFORM``, ipv6(7); Linux only).

    The kernel does so in ESTABLISHED alone. A peer that closes, or half-closes, before this is
    called stays mapped, so a peer can see to that: whoever checks addresses must check those that
    dsadapter shows, or close the connection where this says no.

    :param connection: a connected stream socket of either family, or the number of its descriptor;
        it stays the caller's. A Twisted transport's is ``transport.getHandle()``.
    :returns: whether nobody who reads the descriptor sees an IPv4-mapped address from now on.
    :raises OSError: if it is no socket.
    """
    number = connection if isinstance(connection, int) else connection.fileno()
    # The kernel knows the family; an object that was made before may know the one of before.
    with duplicate(number) as sock:
        if sock.family != socket.AF_INET6 or take_ipv4_form(sock):
            return True
        return not any(map(_is_mapped, (sock.getsockname, sock.getpeername)))


def duplicate(number: int) -> socket.socket:
    """Another socket object for a descriptor: of the kernel's family, and closed without harm.

    :raises OSError: if it is no socket.
    """
    other = socket.dup(number)
    try:
        return socket.socket(fileno=other)
    except BaseException:
        socket.close(other)
        raise


def _is_mapped(name: Callable[[], object]) -> bool:
    try:
        told = name()
    except OSError:
        return False
    return canonical_name(told) is not told
