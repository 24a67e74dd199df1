"""The listening socket that reads PROXY headers with TLS on it, as the ``ssl`` module makes it."""

from __future__ import annotations

from typing import Any

from dsadapter.frameworks.blocking.proxied_listening import (
    ProxiedListeningSocket,
    give_queue,
    take_queue,
)
from dsadapter.proxied.proxied_socket import ProxiedSocket
from dsadapter.proxied.proxied_tls import ProxiedSSLSocket
from dsadapter.ready.ready_tls import ReadySSLSocket


class ProxiedListeningSSLSocket(ReadySSLSocket, ProxiedListeningSocket):
    """What ``SSLContext.wrap_socket`` makes where ``SSLContext.sslsocket_class`` is this class: of
    the listening socket as of those that it accepts."""

    @classmethod
    def _create(cls, sock: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(sock, ProxiedSocket):
            return ProxiedSSLSocket._create(sock, *args, **kwargs)
        if not isinstance(sock, ProxiedListeningSocket):
            return super()._create(sock, *args, **kwargs)
        taken = take_queue(sock)
        try:
            wrapped = super()._create(sock, *args, **kwargs)
        except BaseException:
            if sock.fileno() == -1:
                taken[0].close()
            else:
                give_queue(sock, taken)
            raise
        give_queue(wrapped, taken)
        return wrapped
