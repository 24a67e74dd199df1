"""The standard library's blocking sockets and servers, dual-stack."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    # The registry imports the adapter, which is in this package, for whoever opens anything.
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
