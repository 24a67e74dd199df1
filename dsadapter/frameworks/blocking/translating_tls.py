"""The translating socket with TLS on it, as the ``ssl`` module makes it."""

from __future__ import annotations

from dsadapter.frameworks.blocking.translating import TranslatingSocket
from dsadapter.ready.ready_tls import ReadySSLSocket


class TranslatingSSLSocket(ReadySSLSocket, TranslatingSocket):
    """What ``SSLContext.wrap_socket`` makes where ``SSLContext.sslsocket_class`` is this class."""
