"""A listening socket whose ``accept`` gives connections that proxies pass on."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, NoReturn, cast

from dsadapter.frameworks.blocking.translating import TranslatingSocket
from dsadapter.proxied.gate import ProxyCounters
from dsadapter.proxied.proxied_queue import ProxiedQueue
from dsadapter.proxied.proxied_socket import ProxiedSocket, proxied
from dsadapter.ready.ready_socket import listener_of
from dsadapter.sockets.canonical import PlainSocket


class ProxiedListeningSocket(TranslatingSocket):
    """Accepts from the proxies of its policy alone, and each connection when its PROXY header has
    come: under the client's names, with nothing of the header left in it.

    It keeps its descriptor: whoever accepts from that gets connections from anybody.
    """

    __slots__ = ("_patience", "_queue")

    _queue: ProxiedQueue | None
    _patience: float | None

    def read_headers(self) -> None:
        """Read the headers of what comes, from now on."""
        listener = listener_of(self)
        assert listener is not None
        # Before the queue makes the descriptor non-blocking.
        patience = self.gettimeout()
        self._take_over(ProxiedQueue(self, listener), patience)

    def _take_over(self, queue: ProxiedQueue, patience: float | None) -> None:
        queue.accept_from(self)
        self._queue, self._patience = queue, patience

    @property
    def _reading(self) -> ProxiedQueue | None:
        return getattr(self, "_queue", None)

    @property
    def queue(self) -> ProxiedQueue:
        """What reads the headers, for who waits for several sockets.

        :raises OSError: EBADF if it is closed.
        """
        queue = self._reading
        if queue is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return queue

    @property
    def proxy_counters(self) -> ProxyCounters:
        """What proxies have passed on, and what was closed for which reason."""
        return self.queue.counters

    @property
    def sslsocket_class(self) -> Any:
        """As for :class:`TranslatingSocket`; headers come before TLS."""
        from dsadapter.frameworks.blocking.proxied_listening_tls import ProxiedListeningSSLSocket

        return ProxiedListeningSSLSocket

    def accept(self) -> Any:
        """As ``socket.socket.accept``: a connection whose header has come, and the client's
        canonical address."""
        queue, timeout = self.queue, self.gettimeout()
        passed = queue.take(timeout)
        if passed is None:
            if timeout:
                raise TimeoutError("timed out")
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        sock, peer, local, proxy = passed
        try:
            listener = listener_of(self)
            lost = None if listener is None else listener.accepted(peer, local, proxy)
            named = proxied(sock, peer, local, lost, kind=ProxiedSocket)
        except BaseException:
            sock.close()
            raise
        named.settimeout(socket.getdefaulttimeout())
        return named, peer

    def settimeout(self, value: float | None) -> None:
        """As ``socket.socket.settimeout``; the descriptor itself stays non-blocking."""
        if self._reading is None:
            super().settimeout(value)
            return
        with PlainSocket() as checked:
            checked.settimeout(value)
        self._patience = value

    def gettimeout(self) -> float | None:
        """As ``socket.socket.gettimeout``."""
        return super().gettimeout() if self._reading is None else self._patience

    def setblocking(self, flag: bool) -> None:
        """As ``socket.socket.setblocking``."""
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        """As ``socket.socket.getblocking``."""
        return self.gettimeout() != 0

    def dup(self) -> NoReturn:
        """Refused: two would take each other's connections.

        :raises OSError: always.
        """
        raise OSError(errno.EOPNOTSUPP, "a socket that reads PROXY headers can't be duplicated")

    def detach(self) -> int:
        """Refused, and the socket is lost: whoever has the descriptor would read no headers.

        :raises OSError: always.
        """
        read_headers = self._reading is not None
        detached = super().detach()
        if read_headers:
            raise OSError(
                errno.EOPNOTSUPP,
                "whoever has the bare descriptor reads no PROXY headers; for TLS set "
                "context.sslsocket_class = sock.sslsocket_class before wrap_socket, else give the "
                "server the socket itself",
            )
        return detached

    def _accept(self) -> NoReturn:
        # For servers that make their own socket of the descriptor, which would read no header.
        raise OSError(
            errno.EOPNOTSUPP, "this server makes sockets of its own, which read no PROXY headers"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            f"cannot pickle {type(self).__name__!r} object; fork, or open one with reuse_port=True "
            f"in each process"
        )

    def _end(self) -> None:
        queue = self._reading
        if queue is not None:
            self._queue = None
            queue.close()
        super()._end()


def take_queue(sock: ProxiedListeningSocket) -> tuple[ProxiedQueue, float | None]:
    """What reads the headers, which whoever takes the socket's place goes on with."""
    taken = sock.queue, sock.gettimeout()
    sock._queue = None
    return taken


def give_queue(sock: Any, taken: tuple[ProxiedQueue, float | None]) -> None:
    """Have a socket go on with it."""
    cast(ProxiedListeningSocket, sock)._take_over(*taken)


class BoundProxiedSocket(ProxiedListeningSocket):
    """Its server binds it once more, which it has been already."""

    __slots__ = ()

    def bind(self, address: Any) -> None:
        """Do nothing."""
