"""A pair as one socket: what the kernel is told, and in which order.

The dual-stack socket listens; a socket of each family stays bound beside it, and is a face. When a
face closes, the other one listens in its turn, before the dual-stack socket closes: so the family
that goes on is never without a listener, and no right to bind is needed then.

Between a v6-only and a dual-stack socket Linux gives every IPv6 connection to the older one, and
every IPv4 connection to an AF_INET one (measured on 6.18). A socket that is bound to an interface
that does not exist gets no new connection, while handshakes under way still end in its queue
(``SO_BINDTOIFINDEX``, Linux 5.0).
"""

from __future__ import annotations

import _socket
import os
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypeVar

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.handover import Draining
from dsadapter.handover.parking import pass_over
from dsadapter.launcher.binding import share_port
from dsadapter.launcher.deciding import settled
from dsadapter.launcher.listing import Entry, list_entry
from dsadapter.launcher.own_sockets import identity
from dsadapter.launcher.report import say
from dsadapter.launcher.taking_over import copy_options
from dsadapter.policy import Family, socket_name
from dsadapter.records import family_of
from dsadapter.sockets.options import REUSE_PORT, set_option, set_v6only, shares_port

S = TypeVar("S", bound=socket.socket)

LOOKS = 0.2
"""Seconds between two looks at the queue of a socket that closes when it is empty."""

_REUSE = socket.SOL_SOCKET, socket.SO_REUSEADDR
_LINGER = struct.Struct("@ii")
_INET, _INET6 = socket.AF_INET, socket.AF_INET6

NUMBERS: dict[Family, socket.AddressFamily] = {"ipv4": _INET, "ipv6": _INET6}
OTHER: dict[Family, Family] = {"ipv4": "ipv6", "ipv6": "ipv4"}
WILDCARDS: dict[Family, str] = {"ipv4": "0.0.0.0", "ipv6": "::"}

# socket.socket's own, whatever has been put in its place.
_bind: Any = _socket.socket.bind


def face(kind: type[S], family: Family, port: int) -> S:
    """A face's own socket: non-blocking, bound, and not listening.

    :raises OSError: as ``bind``.
    """
    return _bound(kind, family, port, None)


def dual(kind: type[S], port: int, like: Any, check: Callable[[S], None] | None = None) -> S:
    """A dual-stack socket that is bound beside those of a pair, and has their options.

    :param like: one of them.
    :param check: called with it before it is bound; what it raises comes out.
    :raises OSError: as ``bind``.
    """
    return _bound(kind, None, port, like, check)


def _bound(
    kind: type[S],
    family: Family | None,
    port: int,
    like: Any,
    check: Callable[[S], None] | None = None,
) -> S:
    sock = kind(_INET if family == "ipv4" else _INET6, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if family != "ipv4":
            set_v6only(sock, family == "ipv6")
        if like is not None:
            copy_options(like, sock)
        if check is not None:
            check(sock)
        sock.setsockopt(*_REUSE, 1)
        share_port(sock)
        shares = shares_port(sock)
        set_option(sock, REUSE_PORT, 1)
        _bind(sock, (WILDCARDS[family or "ipv6"], port))
        set_option(sock, REUSE_PORT, shares)
    except BaseException:
        sock.close()
        raise
    return sock


@contextmanager
def sharing(*sockets: Any) -> Iterator[None]:
    """Have sockets of this process share their port for a moment, in which others are bound to it,
    or begin to listen (socket(7))."""
    with ExitStack() as stack:
        for sock in sockets:
            before = shares_port(sock)
            set_option(sock, REUSE_PORT, 1)
            stack.callback(_share, sock, before)
        yield


def _share(sock: Any, value: int) -> None:
    with suppress(OSError):
        set_option(sock, REUSE_PORT, value)


class Refusing:
    """A listening socket that resets the connections of a family, because its face is closed.

    :param refused: None for neither.
    """

    def __init__(self, sock: Any, refused: Family | None) -> None:
        self.socket = sock
        self._refused = refused

    def accept(self) -> tuple[Any, SocketAddress]:
        """As ``socket.accept``, of the family that goes on."""
        while True:
            accepted, address = self.socket.accept()
            if family_of(address) != self._refused:
                return accepted, address
            # As if it had waited for a socket of its own family, which has closed.
            with accepted:
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.pack(1, 0))


class Leftover(Refusing):
    """A listening socket that is to close as soon as nothing waits for it; accept from it as long
    as :meth:`done` says no.

    :param sock: non-blocking; it becomes this object's.
    """

    def __init__(self, sock: Any, refused: Family | None) -> None:
        super().__init__(sock, refused)
        self._draining: Draining | None = Draining([sock])
        try:
            pass_over(sock)
        except OSError:
            # New ones might come for ever.
            self._draining = None

    def done(self) -> bool:
        """Whether it can be closed; ask again after :data:`LOOKS`."""
        try:
            return self._draining is None or self._draining.look()
        except OSError:
            return True

    def close(self) -> None:
        """Close the socket; what waits still is reset."""
        self.socket.close()


class LeftoverReader(ABC):
    """Has what waits for a leftover accepted, until it can close."""

    def __init__(
        self, rest: Leftover, call_later: Callable[[float, Callable[[], None]], Any]
    ) -> None:
        self.rest = rest
        self._call_later = call_later
        self._again: Any = None

    @abstractmethod
    def read(self) -> None:
        """Accept what waits."""

    @abstractmethod
    def stop(self) -> None:
        """Look no more whether something waits."""

    def look(self) -> None:
        """Accept what waits, and close if that was all."""
        self._again = None
        self.read()
        if self.rest.done():
            self.close()
        else:
            self._again = self._call_later(LOOKS, self.look)

    def close(self) -> None:
        """Close the socket."""
        if self.rest.socket.fileno() == -1:
            return
        again, self._again = self._again, None
        if again is not None:
            again.cancel()
        self.stop()
        self.rest.close()


def name(family: Family, port: int) -> str:
    """The wildcard address of a family and a port, as people write it."""
    return socket_name(WILDCARDS[family], port)


def settle(sock: Any, kind: Any, why: str) -> None:
    """Say what a socket is that is about to listen, in place of a look at it."""
    settled[identity(sock.fileno())] = kind, why


def says_merged(port: int, what: str, listed: dict[Family, Entry]) -> None:
    """List both faces, and say that they are one socket.

    :param what: is behind both.
    :param listed: the entries of faces that have one already.
    """
    for family, other in OTHER.items():
        address, why = name(family, port), f"{what} is behind it and {name(other, port)}"
        entry = listed.setdefault(family, Entry(address, "dual-stack", "merged", why))
        entry.serves, entry.done, entry.why = "dual-stack", "merged", why
        entry.ipv4 = None
        list_entry(entry)
    say(f"{name('ipv4', port)} and {name('ipv6', port)} are one socket (process {os.getpid()})")


def alone(closed: Family, port: int) -> str:
    """Why a socket serves one family."""
    return f"{name(closed, port)} is closed"


def says_not_merged(port: int, error: Exception) -> None:
    """Say why a pair stays one."""
    why = getattr(error, "strerror", None) or error
    say(f"{name('ipv4', port)} and {name('ipv6', port)} stay a pair: {why}")
