"""The sockets of this process: which is which, and which of them hold a port.

A socket has a number of its own on Unix, that of its inode; descriptors come again. Windows has no
such number, and no list of a process' sockets: there a bound one is told by its name, and those are
known that were bound by Python.
"""

from __future__ import annotations

import _socket
import os
import socket
import sys
import weakref
from collections.abc import Hashable
from typing import Any

from dsadapter.launcher.methods import owned
from dsadapter.sockets.canonical import canonical_name
from dsadapter.sockets.options import set_v6only

_INET, _INET6 = int(socket.AF_INET), int(socket.AF_INET6)
_OPEN_FILES = "/proc/self/fd" if sys.platform.startswith("linux") else "/dev/fd"

_bound: dict[int, tuple[int, Hashable, int | None]] = {}
"""By descriptor: the process that has bound a stream socket, which socket that is, and to which
port, which it keeps; None where a sandbox doesn't let that be asked."""


def identity(fd: int) -> Hashable:
    """What tells a descriptor's socket from another one that has the descriptor later; on Windows
    of a bound one alone.

    :raises OSError: for what is no socket.
    """
    if os.name != "nt":
        return os.fstat(fd).st_ino
    try:
        sock: Any = _socket.socket(-1, -1, -1, fd)
    except (OSError, ValueError):
        return None
    try:
        name: Hashable = sock.getsockname()
    finally:
        sock.detach()
    return name


def remember_bound(sock: Any) -> None:
    """This process has bound a stream socket."""
    fd = sock.fileno()
    _bound[fd] = os.getpid(), identity(fd), _port_of(fd)

    def forget(ended: weakref.ref[Any]) -> None:
        # Its descriptor has been closed with it.
        if owned.get(fd) is ended:
            owned.pop(fd, None)

    owned[fd] = weakref.ref(sock, forget)


def name_of(fd: int) -> Any:
    """The local address of a stream socket, as the kernel gives it.

    :raises OSError: if it is none, or a sandbox doesn't let that be asked.
    """
    sock = _socket.socket(-1, socket.SOCK_STREAM, 0, fd)
    try:
        return sock.getsockname()
    finally:
        sock.detach()


def _port_of(fd: int) -> int | None:
    try:
        name = name_of(fd)
    except OSError:
        return None
    # That of a socket in the file system is text.
    return name[1] if isinstance(name, tuple) else None


def bound_here(fd: int) -> bool:
    """Whether this very process has bound it."""
    known = _bound.get(fd)
    return known is not None and known[:2] == (os.getpid(), identity(fd))


def has(family: int, port: int, *, shared: bool = False) -> bool:
    """Whether this process has bound a stream socket of a family to a port.

    :param shared: whether sockets on the port say that they share it: nobody is to meet one there
        that doesn't.
    """
    # Mostly nobody has, which is told without a look at each of thousands.
    return (shared or not _is_free(family, port)) and family in _families_on(port)


def _is_free(family: int, port: int) -> bool:
    """Whether nobody at all has a port in a family: a socket that shares nothing can be bound to
    it."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        trial: Any = _socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        return False
    try:
        if family == _INET6:
            set_v6only(trial, True)
        trial.bind(("::" if family == _INET6 else "0.0.0.0", port))
    except OSError:
        return False
    finally:
        trial.close()
    return True


def _families_on(port: int) -> set[int]:
    """The families of the stream sockets of this process that are bound to a port."""
    found = set()
    for number in _descriptors():
        if _has_another_port(number, port):
            continue
        try:
            # What is no socket is refused here. There may be thousands, all but asked for nothing.
            sock = _socket.socket(-1, socket.SOCK_STREAM, 0, number)
        except OSError:
            continue
        try:
            name = sock.getsockname()
            if type(name) is tuple and name[1] == port and _listens_or_may(sock):
                mapped = canonical_name(name) is not name
                found.add(_INET if mapped else int(sock.family))
        except OSError:
            pass
        finally:
            sock.detach()
    return found


def _has_another_port(fd: int, port: int) -> bool:
    """Whether a descriptor is known to be a socket with another port: with thousands of listeners
    this is asked of each by each."""
    known = _bound.get(fd)
    if known is None or known[2] in (None, port):
        return False
    try:
        return known[1] == identity(fd)
    except OSError:
        return False


def _descriptors() -> list[int]:
    if os.name == "nt":
        return [*_bound]
    try:
        return [int(name) for name in os.listdir(_OPEN_FILES)]
    except OSError:
        return []


def _listens_or_may(sock: Any) -> bool:
    """Whether it is a stream socket of either family that is not connected."""
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) != socket.SOCK_STREAM:
        return False
    try:
        sock.getpeername()
    except OSError:
        return sock.family in (_INET, _INET6)
    return False
