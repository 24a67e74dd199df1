"""The standard library's blocking sockets and servers, dual-stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsadapter.frameworks.lazy import lazy_names

if TYPE_CHECKING:
    from dsadapter.frameworks.blocking.client import create_connection
    from dsadapter.frameworks.blocking.server import DualStackMixin, create_server
    from dsadapter.frameworks.blocking.translating import TranslatingSocket

__all__ = [
    "DualStackMixin",
    "TranslatingSocket",
    "create_connection",
    "create_server",
]

_MODULES = {
    "DualStackMixin": "server",
    "TranslatingSocket": "translating",
    "create_connection": "client",
    "create_server": "server",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
