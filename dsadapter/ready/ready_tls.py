"""The ready socket with TLS on it, as the ``ssl`` module makes it."""

from __future__ import annotations

from typing import Any

from dsadapter.ready.ready_socket import ReadySocket
from dsadapter.sockets.canonical_tls import CanonicalSSLSocket


class ReadySSLSocket(CanonicalSSLSocket, ReadySocket):
    """What ``SSLContext.wrap_socket`` makes where ``SSLContext.sslsocket_class`` is this class.

    What is wrapped lives on in it: plugins are told of the end when this one closes.
    """

    _accepts = ReadySocket

    @classmethod
    def _create(cls, sock: Any, *args: Any, **kwargs: Any) -> Any:
        # Where SSLContext.wrap_socket makes one, and detaches what it wraps.
        life = sock._give_life() if isinstance(sock, ReadySocket) else None
        if life is None:
            return super()._create(sock, *args, **kwargs)  # type: ignore[misc]
        try:
            wrapped = super()._create(sock, *args, **kwargs)  # type: ignore[misc]
        except BaseException:
            # Of a failed handshake nothing is left; a context that refuses leaves the socket alone.
            if sock.fileno() == -1:
                life.end(sock)
            else:
                sock._life = life
            raise
        life.pass_on(sock, wrapped)
        wrapped._life = life
        return wrapped
