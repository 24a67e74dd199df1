"""Middleware for WSGI servers that accept connections where nothing else can translate, such as
granian."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from dsadapter.addressing.told import unmap_told

__all__ = ["CanonicalAddresses"]

Environ = dict[str, Any]
Application = Callable[[Any, Any], Iterable[bytes]]

_KEYS = ("REMOTE_ADDR", "REMOTE_HOST", "SERVER_ADDR", "SERVER_NAME")


class CanonicalAddresses:
    """A WSGI application in whose environment ``REMOTE_ADDR``, ``REMOTE_HOST``, ``SERVER_ADDR`` and
    ``SERVER_NAME`` (RFC 3875, section 4.1) are canonical.

    What a proxy has said in a header is left as it is: put this outside of whatever reads such
    headers.

    :param application: a WSGI application (PEP 3333).
    """

    __slots__ = ("application",)

    def __init__(self, application: Application) -> None:
        self.application = application

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Serve one request, as WSGI has it."""
        for key in _KEYS:
            host = environ.get(key)
            if host is not None:
                canonical = unmap_told(host)
                if canonical is not host:
                    environ[key] = canonical
        return self.application(environ, start_response)
