"""Twisted endpoints. Importing this package installs no reactor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsadapter.frameworks.twisted.connecting import DualStackClientEndpoint
    from dsadapter.frameworks.twisted.endpoints import DualStackServerEndpoint

__all__ = ["DualStackClientEndpoint", "DualStackServerEndpoint"]


def __getattr__(name: str) -> Any:
    # The drop-in loads the parsers at every start of twist; the endpoints load when one is used.
    if name == "DualStackServerEndpoint":
        from dsadapter.frameworks.twisted.endpoints import DualStackServerEndpoint

        return DualStackServerEndpoint
    if name == "DualStackClientEndpoint":
        from dsadapter.frameworks.twisted.connecting import DualStackClientEndpoint

        return DualStackClientEndpoint
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
