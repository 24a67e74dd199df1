"""A connection that a proxy passed on, under the names that its header gave."""

from __future__ import annotations

from collections.abc import Callable
from socket import SOCK_STREAM
from typing import TYPE_CHECKING, Any, Self, TypeVar

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.ready.life import Life
from dsadapter.ready.ready_socket import ReadySocket
from dsadapter.sockets.canonical import CanonicalSocket, PlainSocket, family_number

if TYPE_CHECKING:
    import ssl

_STREAM = int(SOCK_STREAM)


class ProxiedSocket(ReadySocket):
    """A socket whose names are the client's, and where the client connected to.

    Its descriptor is the connection with the proxy, and stays so: who reads the names of that one
    sees the proxy.
    """

    __slots__ = ("_names",)

    _names: tuple[SocketAddress, SocketAddress]

    @property
    def sslsocket_class(self) -> type[ssl.SSLSocket]:
        """As for :class:`~dsadapter.ready.ready_socket.ReadySocket`, under the same names."""
        from dsadapter.proxied.proxied_tls import ProxiedSSLSocket

        return ProxiedSSLSocket

    def getpeername(self) -> Any:
        """The client's canonical address."""
        return self._name(0, super().getpeername)

    def getsockname(self) -> Any:
        """The canonical address that the client connected to."""
        return self._name(1, super().getsockname)

    def _name(self, which: int, kernels: Callable[[], Any]) -> Any:
        # A closed socket has no names.
        names = getattr(self, "_names", None)
        return names[which] if names is not None and self.fileno() != -1 else kernels()

    def dup(self) -> Self:
        """As ``socket.socket.dup``, under the same names."""
        duplicate = super().dup()
        duplicate._names = self._names
        return duplicate

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (super().__reduce__(), self._names)


S = TypeVar("S", bound=ProxiedSocket)


def proxied(
    sock: CanonicalSocket,
    peer: SocketAddress,
    local: SocketAddress,
    lost: Callable[[], None] | None = None,
    *,
    kind: type[S],
) -> S:
    """An accepted socket under other names, which takes its place.

    :param lost: called once it has closed; None if nobody wants to know.
    :param kind: what it is.
    """
    # As watched_connection does for any kind, at half the cost.
    family, proto, fd = family_number(sock), sock.proto, PlainSocket.detach(sock)
    named = kind(family, _STREAM, proto, fd)
    named.setblocking(False)
    named._names = peer, local
    if lost is not None:
        named._life = Life(named, lost)
    return named


def _restored(base: tuple[Any, ...], names: tuple[SocketAddress, SocketAddress]) -> Any:
    restore, arguments = base
    sock = restore(*arguments)
    sock._names = names
    return sock
