"""TLS around any server endpoint, done by Twisted: from a directory, as its ``tls:`` server strings
take it, or from files, as its ``ssl:`` strings do.

Imported only when an endpoint asks for TLS: pyOpenSSL is slow to import, and may be missing.
"""

try:
    import twisted.internet.ssl
    import twisted.protocols.tls  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"TLS needs packages that are not installed ({error}); install 'twisted[tls]'",
        name=error.name,
    ) from error

from dsadapter.frameworks.twisted.tls.connection_creators import (
    connectionCreatorFromDirectory,
    connectionCreatorFromFiles,
    connectionCreatorFromOptions,
)
from dsadapter.frameworks.twisted.tls.wrapping import SSLServerEndpoint, wrapServerTLS

__all__ = [
    "SSLServerEndpoint",
    "connectionCreatorFromDirectory",
    "connectionCreatorFromFiles",
    "connectionCreatorFromOptions",
    "wrapServerTLS",
]
