"""Datagrams as a covered process has them: on the program's own descriptor, IPv4 as IPv4."""

from __future__ import annotations

import _socket
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from dsadapter.errors import NotDualStackError
from dsadapter.frameworks.blocking.datagram import TranslatingDatagramSocket
from dsadapter.launcher import report
from dsadapter.packetinfo.peers import PeerAddress, Route


class Ipv6Sender(tuple[Any, ...]):
    """``(host, port, flow info, scope id)``, as an AF_INET6 socket shows a sender, which knows the
    way back."""

    peer: PeerAddress

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (tuple(self),)


class Exchange(TranslatingDatagramSocket):
    """What translates for one socket of the program: a second object of its descriptor.

    IPv6 senders stay what they are for an AF_INET6 socket, tuples of four.
    """

    __slots__ = ()

    def __init__(self, fd: int) -> None:
        # Without packet information, as in a sandbox, names are translated all the same.
        with suppress(OSError):
            super().__init__(fileno=fd)

    def __del__(self, *_defaults: Any) -> None:
        # The descriptor is the program's.
        _socket.socket.detach(self)

    def _receive(self, bufsize: int, ancbufsize: int, flags: int) -> tuple[Any, ...]:
        data, messages, told, sender, info = super()._receive(bufsize, ancbufsize, flags)
        if type(sender) is PeerAddress and ":" in sender[0]:
            sender = self._long(sender)
        return data, messages, told, sender, info

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
            return super()._route(address)
        except NotDualStackError:
            _handed_over(self, address)
            raise


def _handed_over(sock: Any, address: Any) -> None:
    """Tell the guard of a mapped address that gets no further."""
    if report.handed_over is not None and ":" in address[0]:
        report.handed_over(sock, address[0], "sendto", translated=False)


_exchanges: WeakKeyDictionary[Any, Exchange] = WeakKeyDictionary()


def exchange_of(sock: Any) -> Exchange:
    """The one of a socket of the program; the first call makes it.

    :param sock: an AF_INET6 socket for datagrams, open.
    """
    found = _exchanges.get(sock)
    fd = sock.fileno()
    if found is None or found.fileno() != fd:
        found = _exchanges[sock] = Exchange(fd)
    timeout = sock.gettimeout()
    if found.gettimeout() != timeout:
        found.settimeout(timeout)
    return found


def forget(sock: Any) -> None:
    """A socket is about to be closed or detached."""
    _exchanges.pop(sock, None)


def _is_native(host: Any) -> bool:
    return isinstance(host, str) and ":" in host and not host.lower().startswith("::ffff:")
