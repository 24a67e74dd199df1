"""The canonical socket with TLS on it, as the ``ssl`` module makes it."""

from __future__ import annotations

import ssl
from typing import Any, Self, cast

from dsadapter.sockets.canonical import CanonicalSocket


class CanonicalSSLSocket(ssl.SSLSocket, CanonicalSocket):
    """What ``SSLContext.wrap_socket`` makes where ``SSLContext.sslsocket_class`` is this class.

    A listening one accepts canonical ones. It wraps any socket, a plain one as well.
    """

    _accepts = CanonicalSocket

    def accept(self) -> tuple[Self, Any]:
        """As ``ssl.SSLSocket.accept``, with the canonical address of the peer."""
        return cast(tuple[Self, Any], super().accept())

    def __reduce__(self) -> tuple[Any, ...]:
        self._refuse("pickle")
