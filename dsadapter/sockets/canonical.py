"""A ``socket.socket`` whose addresses are canonical, whoever accepts from it."""

from __future__ import annotations

import _socket
import errno
import os
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from dsadapter.addressing.sockaddr import SocketAddress, unmap_sockaddr
from dsadapter.sockets.bare_handles import refuse_loop, refuse_servers
from dsadapter.sockets.ifaddrs import zoned
from dsadapter.sockets.options import ADDRESS_FORM
from dsadapter.sockets.system_errors import system_error

if TYPE_CHECKING:
    import ssl


def _own_class() -> type[socket.socket]:
    # gevent and eventlet put a class of theirs in the place of socket.socket, of which nothing
    # here would be a socket any more; the first one that the socket module has made is its own.
    own = ("socket", "socket")
    made: list[Any] = _socket.socket.__subclasses__()
    return next((c for c in made if (c.__module__, c.__qualname__) == own), socket.socket)


PlainSocket: type[socket.socket] = _own_class()
"""``socket.socket`` as the standard library made it, whatever has been put in its place since."""

if TYPE_CHECKING:
    _Base = socket.socket
else:
    _Base = PlainSocket

# Its own properties make an enum member on each access, which takes a microsecond.
family_number = _socket.socket.family.__get__
_type = _socket.socket.type.__get__
_proto = _socket.socket.proto.__get__
_accept: Any = _socket.socket._accept  # type: ignore[attr-defined]
if sys.platform == "win32":

    def accept_descriptor(sock: socket.socket) -> tuple[int, Any]:
        """The handle of a connection and its peer's name.

        :raises ConnectionAbortedError: where the client has reset it meanwhile (WSAECONNRESET, of
            Wine WSAENOTCONN), as elsewhere: event loops know that alone as one connection's end.
        """
        try:
            accepted: tuple[int, Any] = _accept(sock)
        except OSError as error:
            if error.errno in (errno.ECONNRESET, errno.ENOTCONN):
                raise peer_gone() from None
            raise
        return accepted
else:
    accept_descriptor = _accept

_INET, _INET6 = int(socket.AF_INET), int(socket.AF_INET6)
_FORM_LEVEL, _FORM = ADDRESS_FORM.level, ADDRESS_FORM.number
_STREAM = int(socket.SOCK_STREAM)


class _Members(dict[int, Any]):
    """The members of an enum by their numbers; other numbers stand for themselves, as in
    ``socket.socket``."""

    def __missing__(self, number: int) -> int:
        return number


_families = _Members({int(member): member for member in socket.AddressFamily})
_types = _Members({int(member): member for member in socket.SocketKind})


class _Kinds:
    """What a socket is, as ``socket.socket`` has it in more steps: asyncio asks every connection
    that it accepts."""

    __slots__ = ()

    @property
    def family(self) -> Any:
        """As ``socket.socket.family``."""
        return _families[family_number(self)]

    @property
    def type(self) -> Any:
        """As ``socket.socket.type``."""
        return _types[_type(self)]


class CanonicalSocket(_Kinds, _Base):
    """A socket that shows an IPv4 peer or local address as ``(ipv4, port)``, never mapped.

    ``accept`` and ``dup`` give sockets of this class, and so does a worker process that one is
    handed to (``multiprocessing``, whatever its start method). Only names are translated:
    ``family`` stays what the kernel says, and ``connect``, ``bind`` and ``sendto`` take what the
    kernel takes. Names of another family than AF_INET6 pass through.

    Where the bare descriptor leaves the object, by ``detach`` or to a server that makes a socket of
    its own of what ``_accept`` gives, nobody can translate names any more: the kernel is asked to
    make the connection an AF_INET one (``IPV6_ADDRFORM``), as far as it can.
    """

    __slots__ = ()

    _accepts: ClassVar[type[CanonicalSocket] | None] = None
    """The class of the sockets that ``accept`` gives; None for the socket's own."""

    if sys.platform == "win32":

        @property
        def family(self) -> socket.AddressFamily:
            """As of ``socket.socket``; a loop that accepts from the bare handle is refused."""
            refuse_loop(self, sys._getframe(1))
            return super().family

        def setblocking(self, flag: bool) -> None:
            """As ``socket.socket.setblocking``; likewise."""
            refuse_servers(self, sys._getframe(1))
            super().setblocking(flag)

    @property
    def sslsocket_class(self) -> type[ssl.SSLSocket]:
        """What to set ``ssl.SSLContext.sslsocket_class`` to, for ``SSLContext.wrap_socket`` to make
        canonical sockets, of a listening one as of an accepted one."""
        # ssl takes its time, and not every program needs it.
        from dsadapter.sockets.canonical_tls import CanonicalSSLSocket

        return CanonicalSSLSocket

    def accept(self) -> tuple[Self, SocketAddress]:
        """As ``socket.socket.accept``, with the canonical address of the peer."""
        accepted: tuple[Any, SocketAddress] = self._accepted_as(self._accepts or type(self))
        return accepted

    def _accepted_as(self, kind: Any) -> tuple[Any, SocketAddress]:
        fd, name = accept_descriptor(self)
        accepted = kind(family_number(self), _type(self), _proto(self), fd)
        if name is None:
            accepted.close()
            raise peer_gone()
        # What socket.socket does too: a BSD's accepted socket inherits non-blocking mode.
        if self.gettimeout() and socket.getdefaulttimeout() is None:
            accepted.setblocking(True)
        return accepted, canonical_name(name)

    def acceptor(self) -> Callable[[], tuple[CanonicalSocket, SocketAddress]]:
        """A function that does what :meth:`accept` does, for a turn in which many wait: what is the
        same for all of them is looked up once."""
        if type(self).accept is not CanonicalSocket.accept or family_number(self) != _INET6:
            return self.accept
        kind: Any = self._accepts or type(self)
        family, type_, proto = _INET6, _type(self), _proto(self)
        blocks = bool(self.gettimeout()) and socket.getdefaulttimeout() is None

        def accept() -> tuple[CanonicalSocket, SocketAddress]:
            fd, name = accept_descriptor(self)
            accepted = kind(family, type_, proto, fd)
            if blocks:
                accepted.setblocking(True)
            host, port, _, scope_id = name
            tail = host.removeprefix("::ffff:")
            if ":" not in tail and "." in tail and not scope_id:
                # As in canonical_name, without its call.
                return accepted, (tail, port)
            return accepted, canonical_name(name)

        return accept

    def _accept(self) -> tuple[int, SocketAddress]:
        """For servers that make their own socket of the descriptor, such as gevent's."""
        fd, name = accept_descriptor(self)
        address = canonical_name(name)
        if address is not name:
            accepted = PlainSocket(family_number(self), _type(self), _proto(self), fd)
            try:
                take_ipv4_form(accepted)
            finally:
                accepted.detach()
        return fd, address

    def getpeername(self) -> Any:
        """As ``socket.socket.getpeername``, canonical."""
        return canonical_name(super().getpeername())

    def getsockname(self) -> Any:
        """As ``socket.socket.getsockname``, canonical."""
        return canonical_name(super().getsockname())

    def local_address(self) -> SocketAddress:
        """As :meth:`getsockname`, a link-local address with its zone in the host."""
        return zoned(self.getsockname())

    def hold(self) -> None:
        """Have :meth:`close` leave the descriptor open until :meth:`release`, as an open
        ``makefile`` does."""
        self._io_refs += 1  # type: ignore[attr-defined]

    def release(self) -> None:
        """Close it, if :meth:`close` has been called."""
        self._decref_socketios()  # type: ignore[attr-defined]

    def detach(self) -> int:
        """As ``socket.socket.detach``. A connection with an IPv4 peer becomes an AF_INET one if the
        kernel can do that, so that a reader of the bare descriptor, too, sees canonical names."""
        if _type(self) == _STREAM:
            take_ipv4_form(self)
        return super().detach()

    def __reduce__(self) -> tuple[Any, ...]:
        # Only multiprocessing carries descriptors; anything else that pickles is mistaken.
        if "multiprocessing.reduction" not in sys.modules:
            self._refuse("pickle")
        duplicate = _duplicate(self)
        state = family_number(self), _type(self), _proto(self), self.gettimeout()
        return _restored, (type(self), duplicate, *state)

    def __copy__(self) -> NoReturn:
        self._refuse("copy")

    def __deepcopy__(self, memo: Any) -> NoReturn:
        self._refuse("copy")

    def _refuse(self, what: str) -> NoReturn:
        raise TypeError(f"cannot {what} {type(self).__name__!r} object; dup() makes another one")


def peer_gone() -> OSError:
    """The error of an accept that gives no name of the peer, as macOS does for one that is gone."""
    return system_error(errno.ECONNABORTED)


ONE_CONNECTION = {
    *(errno.ECONNABORTED, errno.EPROTO, errno.EINTR),
    *(errno.ECONNRESET, errno.ENOTCONN),
}
"""What an accept fails with for one connection, whose client has gone (``accept(2)``; on Windows
``WSAECONNRESET``): the next may be fine. Not ``EPERM``: Linux asks sandboxes and security modules
before it takes a connection, which waits there still and meets the same answer."""


def canonical_name(name: Any) -> Any:
    """The canonical form of a name as the kernel gives it; of any family but AF_INET6 as it is."""
    # Only AF_INET6's names have four items, and inet_ntop spells a mapped address in one way.
    if type(name) is not tuple or len(name) != 4 or not name[0].startswith("::ffff:"):
        return name
    host, port, _, scope_id = name
    tail = host[7:]
    if "." in tail and ":" not in tail and not scope_id:
        return tail, port
    return unmap_sockaddr(name)


def take_ipv4_form(sock: socket.socket) -> bool:
    """Ask the kernel to make a connection with an IPv4 peer an AF_INET one, for every reader of its
    descriptor (``IPV6_ADDRFORM``; Linux only).

    It does so in ESTABLISHED alone: a peer that half-closes, closes or resets before this is called
    stays mapped. So it is a help for readers of bare descriptors, never the boundary.

    :returns: whether it has become one.
    """
    if _FORM is None or family_number(sock) != _INET6:
        return False
    try:
        sock.setsockopt(_FORM_LEVEL, _FORM, _INET)
    except OSError:
        return False
    return True


def _duplicate(sock: socket.socket) -> Any:
    if os.name == "nt":
        from multiprocessing import resource_sharer

        return resource_sharer.DupSocket(sock)  # type: ignore[attr-defined]
    from multiprocessing import reduction

    return reduction.DupFd(sock.fileno())


def _restored(
    kind: type[CanonicalSocket],
    duplicate: Any,
    family: int,
    type_: int,
    proto: int,
    timeout: float | None,
) -> CanonicalSocket:
    handed = duplicate.detach()
    fd = handed if isinstance(handed, int) else handed.detach()
    sock = kind(family, type_, proto, fd)
    # Blocking mode is the open file's, which other processes have, too: one that has begun to
    # serve would hang in its next accept.
    if sock.gettimeout() != timeout:
        sock.settimeout(timeout)
    return sock
