"""A bound socket in the place of another one: the same object, port and options, and on Unix the
same descriptor."""

from __future__ import annotations

import _socket
import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from dsadapter.launcher.watching import Watch, is_ours, others_of, watch_again
from dsadapter.sockets.canonical import CanonicalSocket, family_number
from dsadapter.sockets.options import (
    EXCLUSIVE_ADDRESS_USE,
    REUSE_ADDRESS,
    read_v6only,
    set_option,
    set_v6only,
)

_INET, _INET6 = int(socket.AF_INET), int(socket.AF_INET6)
_LINUX = sys.platform.startswith("linux")
_GET_FILTER = 26
# By level. Python has no names for the numbers.
_OPTIONS: dict[int, tuple[str | int, ...]] = {
    socket.SOL_SOCKET: (
        "SO_REUSEADDR",
        "SO_EXCLUSIVEADDRUSE",
        "SO_REUSEPORT",
        "SO_KEEPALIVE",
        "SO_LINGER",
        "SO_OOBINLINE",
        "SO_RCVLOWAT",
        "SO_RCVTIMEO",
        "SO_SNDTIMEO",
        "SO_PRIORITY",
        "SO_MARK",
        "SO_BINDTODEVICE",
        "SO_DONTROUTE",
    ),
    socket.IPPROTO_TCP: (
        "TCP_NODELAY",
        "TCP_MAXSEG",
        "TCP_KEEPIDLE",
        "TCP_KEEPINTVL",
        "TCP_KEEPCNT",
        "TCP_SYNCNT",
        "TCP_LINGER2",
        "TCP_DEFER_ACCEPT",
        "TCP_WINDOW_CLAMP",
        "TCP_QUICKACK",
        "TCP_CONGESTION",
        "TCP_USER_TIMEOUT",
        "TCP_FASTOPEN",
        "TCP_NOTSENT_LOWAT",
    ),
}
_IPV6_OPTIONS = ("IPV6_TCLASS", "IPV6_UNICAST_HOPS", 75, 78)
_BUFFERS = ("SO_RCVBUF", "SO_SNDBUF")


class CannotTakeOverError(Exception):
    """The socket stays as it is; the text says why."""


def take_over(
    sock: Any,
    family: int,
    v6only: bool,
    host: str,
    port: int,
    before_bind: Callable[[socket.socket], None] | None,
    listen: Callable[[], None],
) -> None:
    """Put a new socket, bound to a wildcard address, in the place of a bound one, and listen.

    On Unix the old one has its port until the new one listens; where anything fails it is back.

    :param sock: bound, not listening.
    :param family: of the new one, as ``v6only``, ``host`` and ``port`` are.
    :param before_bind: called with the new one when its options are set; what it raises comes out.
    :param listen: has ``sock`` listen.
    :raises CannotTakeOverError: if it can't be had.
    :raises OSError: on Windows, if the port was lost.
    """
    if _has_filter(sock):
        raise CannotTakeOverError("a packet filter is attached to its socket")
    fd = sock.fileno()
    others, watches = others_of(fd)
    if others:
        raise CannotTakeOverError("the program has another descriptor of its socket")
    if not all(is_ours(fd, watch) for watch in watches):
        raise CannotTakeOverError("an event loop watches it already")
    try:
        new = CanonicalSocket(family, socket.SOCK_STREAM, sock.proto)
    except OSError as error:
        raise CannotTakeOverError(str(error.strerror)) from error
    replace = _by_another_handle if os.name == "nt" else partial(_by_descriptor, watches)
    try:
        try:
            if family == _INET6:
                set_v6only(new, v6only)
            copy_options(sock, new)
            set_option(new, REUSE_ADDRESS, 1)
        except OSError as error:
            raise CannotTakeOverError(str(error.strerror or error)) from error
        if before_bind is not None:
            before_bind(new)
        replace(sock, new, (host, port), listen)
    finally:
        new.close()


def _by_descriptor(
    watches: list[Watch],
    sock: Any,
    new: socket.socket,
    address: tuple[str, int],
    listen: Callable[[], None],
) -> None:
    """The new one has the descriptor of the old one from now on, for whoever has it."""
    fd, family = sock.fileno(), family_number(sock)
    reuse = sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    kept = -1
    try:
        # Both may be bound as long as neither listens, and both say so.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        new.bind(address)
        os.set_blocking(new.fileno(), os.get_blocking(fd))
        kept = os.dup(fd)
        _replace(sock, fd, new.fileno(), family_number(new))
        watch_again(fd, watches)
        listen()
    except OSError as error:
        if kept != -1:
            _replace(sock, fd, kept, family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        raise CannotTakeOverError(str(error.strerror)) from error
    finally:
        if kept != -1:
            os.close(kept)


def _replace(sock: Any, fd: int, by: int, family: int) -> None:
    """Have a descriptor be another socket's, and the object know its family."""
    os.dup2(by, fd, os.get_inheritable(fd))
    if family_number(sock) != family:
        _be(sock, family, fd)


def _by_another_handle(
    sock: Any, new: socket.socket, address: tuple[str, int], listen: Callable[[], None]
) -> None:
    """The object of the old one has the handle of the new one from now on.

    Windows has no ``dup2`` of sockets, and no two that share a port as safely: the old one is
    closed first, once it is known that nobody has the port in the other family.

    :raises OSError: if the port was taken in the moment between, and so is lost.
    """
    name = _socket.socket.getsockname(sock)
    before = family_number(sock)
    inheritable = sock.get_inheritable()
    spare = CanonicalSocket(before, socket.SOCK_STREAM, sock.proto)
    try:
        try:
            if before == _INET6:
                set_v6only(spare, bool(read_v6only(sock)))
            copy_options(sock, spare)
            for each in (new, spare):
                each.set_inheritable(inheritable)
            _look(_INET if before == _INET6 else _INET6, address[1])
        except OSError as error:
            raise CannotTakeOverError(str(error.strerror or error)) from error
        _socket.socket.close(sock)
        try:
            new.bind(address)
            _take(sock, new)
            listen()
        except OSError as error:
            _socket.socket.close(sock)
            spare.bind(name)
            _take(sock, spare)
            raise CannotTakeOverError(str(error.strerror)) from error
    finally:
        spare.close()


def _look(family: int, port: int) -> None:
    """See whether a port can be had in a family.

    :raises OSError: if it can't.
    """
    with socket.socket(family) as trial:
        set_option(trial, EXCLUSIVE_ADDRESS_USE, 1)
        if family == _INET6:
            set_v6only(trial, True)
        _socket.socket.bind(trial, ("::" if family == _INET6 else "0.0.0.0", port))


def _take(sock: Any, other: socket.socket) -> None:
    """Have an object be another one's socket."""
    family = family_number(other)
    _be(sock, family, _socket.socket.detach(other))


def _be(sock: Any, family: int, fd: int) -> None:
    """Have an object be the socket of a descriptor; it waits as before."""
    timeout = sock.gettimeout()
    _socket.socket.__init__(sock, family, sock.type, sock.proto, fd)
    sock.settimeout(timeout)


def copy_options(old: Any, new: socket.socket) -> None:
    """Set what has been set on one socket on another that has just been made.

    :raises OSError: for one that can't be set.
    """
    numbers = [(level, name) for level, names in _OPTIONS.items() for name in names]
    if _LINUX and family_number(old) == family_number(new) == _INET6:
        numbers += [(socket.IPPROTO_IPV6, name) for name in _IPV6_OPTIONS]
    for level, name in numbers:
        number = getattr(socket, name, None) if isinstance(name, str) else name
        if number is None:
            continue
        try:
            value = old.getsockopt(level, number, 64)
            if value == new.getsockopt(level, number, 64):
                continue
        except OSError:
            # An older kernel's.
            continue
        new.setsockopt(level, number, value)
    for name in _BUFFERS:
        number = getattr(socket, name)
        size = old.getsockopt(socket.SOL_SOCKET, number)
        if size != new.getsockopt(socket.SOL_SOCKET, number):
            # Linux says twice what it was told (socket(7)).
            new.setsockopt(socket.SOL_SOCKET, number, size // 2 if _LINUX else size)


def _has_filter(sock: Any) -> bool:
    if not _LINUX:
        return False
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, _GET_FILTER, 1024))
    except OSError:
        return True
