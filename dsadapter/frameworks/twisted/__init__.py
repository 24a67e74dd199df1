"""Twisted endpoints. Importing this package installs no reactor."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsadapter.frameworks.twisted.connecting import DualStackClientEndpoint
    from dsadapter.frameworks.twisted.datagram import DualStackDatagramEndpoint
    from dsadapter.frameworks.twisted.endpoints import DualStackServerEndpoint
    from dsadapter.frameworks.twisted.web import DualStackAgentEndpointFactory

__all__ = [
    "DualStackAgentEndpointFactory",
    "DualStackClientEndpoint",
    "DualStackDatagramEndpoint",
    "DualStackServerEndpoint",
]

_MODULES = {
    "DualStackAgentEndpointFactory": "web",
    "DualStackClientEndpoint": "connecting",
    "DualStackDatagramEndpoint": "datagram",
    "DualStackServerEndpoint": "endpoints",
}


def __getattr__(name: str) -> Any:
    # The drop-in loads the parsers at every start of twist; the endpoints load when one is used.
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
