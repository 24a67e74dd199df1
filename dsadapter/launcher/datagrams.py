"""Datagrams as a covered process has them: on the program's own descriptor, IPv4 as IPv4."""

from __future__ import annotations

import _socket
import errno
import sys
from contextlib import suppress
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from dsadapter.addressing.text import unmap_text
from dsadapter.errors import NotDualStackError
from dsadapter.frameworks.blocking.datagram import TranslatingDatagramSocket
from dsadapter.launcher import report
from dsadapter.packetinfo.peers import PeerAddress, Route
from dsadapter.sockets.canonical import canonical_name, family_number

_DENIED = (errno.EPERM, errno.EACCES, errno.ENOSYS)
_MOST_NAMED = 1000


class Ipv6Sender(tuple[Any, ...]):
    """``(host, port, flow info, scope id)``, as an AF_INET6 socket shows a sender, which knows the
    way back."""

    peer: PeerAddress

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (tuple(self),)


class Named:
    """The IPv4 peers that the program itself has sent to by a mapped address, through one socket.

    It may wait for answers from these very addresses, so what comes from there has them: at a
    client. A server may send to whatever address somebody tells it, who could then be that there.
    """

    __slots__ = ("_names", "serves")

    def __init__(self) -> None:
        self.serves = False
        """Whether the port is one that others know: it was chosen, or has come with the socket."""
        self._names: dict[tuple[str, int], Ipv6Sender] = {}

    def sent_to(self, address: Any) -> None:
        """The program sends to an address."""
        if self.serves or not (
            isinstance(address, tuple) and len(address) >= 2 and is_mapped_text(address[0])
        ):
            return
        host = unmap_text(address[0])
        peer = host, address[1]
        if peer not in self._names:
            if len(self._names) >= _MOST_NAMED:
                del self._names[next(iter(self._names))]
            self._names[peer] = Ipv6Sender((f"::ffff:{host}", address[1], 0, 0))

    def name_of(self, sender: PeerAddress) -> Ipv6Sender | None:
        """The address that the program knows a sender by; None for the canonical one."""
        known = self._names.get(sender)
        if known is None:
            return None
        name = Ipv6Sender(known)
        name.peer = sender
        return name


class Exchange(TranslatingDatagramSocket):
    """What translates for one socket of the program: a second object of its descriptor.

    IPv6 senders stay what they are for an AF_INET6 socket, tuples of four.
    """

    __slots__ = ("named",)

    def __init__(self, sock: Any) -> None:
        self.named = Named()
        # Windows doesn't tell the family of one that isn't bound.
        family, type_, proto = family_number(sock), sock.type, sock.proto
        # Without packet information, as in a sandbox, names are translated all the same.
        with suppress(OSError):
            super().__init__(family, type_, proto, sock.fileno())
            self.named.serves = self.getsockname()[1] != 0

    def __del__(self, *_defaults: Any, _detach: Any = _socket.socket.detach) -> None:
        # The descriptor is the program's. Modules are empty already when the interpreter ends.
        _detach(self)

    def _receive(self, bufsize: int, ancbufsize: int, flags: int) -> tuple[Any, ...]:
        if not ancbufsize and _recvmsg_is_denied():
            data, name = _socket.socket.recvfrom(self, bufsize, flags)
            return data, [], 0, canonical_name(name), None
        data, messages, told, sender, info = super()._receive(bufsize, ancbufsize, flags)
        if type(sender) is PeerAddress:
            if ":" in sender[0]:
                sender = self._long(sender)
            else:
                sender = self.named.name_of(sender) or sender
        return data, messages, told, sender, info

    def _send(self, data: Any, route: Route, flags: int, source: str | None = None) -> int:
        try:
            return super()._send(data, route, flags, source)
        except OSError as error:
            if error.errno not in _DENIED or not route.messages:
                raise
            # Likewise with sendmsg, which chooses where an answer leaves from.
            return super()._send(data, Route(route.address, []), flags)

    def _long(self, sender: PeerAddress) -> Any:
        host, port = sender
        wire: Any = None
        with suppress(OSError):
            wire = super()._route(sender).address
        long = Ipv6Sender(wire or (host, port, 0, 0))
        long.peer = sender
        return long

    def _route(self, address: Any) -> Route:
        if type(address) is Ipv6Sender:
            return super()._route(address.peer)
        if isinstance(address, tuple) and len(address) == 4 and _is_native(address[0]):
            return Route(address, [])
        try:
            route = super()._route(address)
            self.named.sent_to(address)
            return route
        except NotDualStackError:
            _handed_over(self, address)
            raise


def _handed_over(sock: Any, address: Any) -> None:
    """Tell the guard of a mapped address that gets no further."""
    if report.handed_over is not None and ":" in address[0]:
        report.handed_over(sock, address[0], "sendto", translated=False)


@cache
def _recvmsg_is_denied() -> bool:
    """Whether this is a sandbox, in which the program's own ``recvfrom`` may do."""
    if sys.platform == "win32":
        return False
    # One of its own: what the program's has to tell is told once.
    trial = None
    try:
        trial = _socket.socket(_socket.AF_INET6, _socket.SOCK_DGRAM)
        trial.recvmsg(0, 0, _socket.MSG_DONTWAIT)
    except OSError as error:
        if trial is not None and error.errno in _DENIED:
            report.say(f"forged datagrams aren't told from IPv4 ones: recvmsg: {error.strerror}")
            return True
    finally:
        if trial is not None:
            trial.close()
    return False


_exchanges: WeakKeyDictionary[Any, Exchange] = WeakKeyDictionary()


def exchange_of(sock: Any) -> Exchange:
    """The one of a socket of the program; the first call makes it.

    :param sock: an AF_INET6 socket for datagrams, open.
    """
    found = _exchanges.get(sock)
    fd = sock.fileno()
    if found is None or found.fileno() != fd:
        found = _exchanges[sock] = Exchange(sock)
    timeout = sock.gettimeout()
    if found.gettimeout() != timeout:
        found.settimeout(timeout)
    return found


def forget(sock: Any) -> None:
    """A socket is about to be closed or detached."""
    _exchanges.pop(sock, None)


def is_mapped_text(host: Any) -> bool:
    """Whether a host is written as a mapped address, in the way that everybody does."""
    return isinstance(host, str) and host[:7].lower() == "::ffff:"


def _is_native(host: Any) -> bool:
    return isinstance(host, str) and ":" in host and not is_mapped_text(host)
