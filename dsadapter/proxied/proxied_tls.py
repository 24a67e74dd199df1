"""A connection that a proxy passed on with TLS on it, as the ``ssl`` module makes it."""

from __future__ import annotations

from typing import Any

from dsadapter.proxied.proxied_socket import ProxiedSocket
from dsadapter.ready.ready_tls import ReadySSLSocket


class ProxiedSSLSocket(ReadySSLSocket, ProxiedSocket):
    """What ``SSLContext.wrap_socket`` makes of a :class:`ProxiedSocket`, under the same names."""

    @classmethod
    def _create(cls, sock: Any, *args: Any, **kwargs: Any) -> Any:
        names = sock._names
        wrapped = super()._create(sock, *args, **kwargs)
        wrapped._names = names
        return wrapped
