"""Twisted endpoints. Importing this package installs no reactor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsadapter.frameworks.twisted.endpoints import DualStackServerEndpoint

__all__ = ["DualStackServerEndpoint"]


def __getattr__(name: str) -> Any:
    # The drop-in loads the parsers at every start of twist; the endpoints load when one is used.
    if name in __all__:
        from dsadapter.frameworks.twisted import endpoints

        return getattr(endpoints, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
