"""Twisted endpoints. Importing this package installs no reactor."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsadapter.frameworks.twisted.client.client_endpoint import DualStackClientEndpoint
    from dsadapter.frameworks.twisted.client.connecting_errors import ConnectingError
    from dsadapter.frameworks.twisted.datagram.datagram_endpoint import DualStackDatagramEndpoint
    from dsadapter.frameworks.twisted.server.server_endpoint import DualStackServerEndpoint
    from dsadapter.frameworks.twisted.web import DualStackAgentEndpointFactory

__all__ = [
    "ConnectingError",
    "DualStackAgentEndpointFactory",
    "DualStackClientEndpoint",
    "DualStackDatagramEndpoint",
    "DualStackServerEndpoint",
]

_MODULES = {
    "ConnectingError": "client.connecting_errors",
    "DualStackAgentEndpointFactory": "web",
    "DualStackClientEndpoint": "client.client_endpoint",
    "DualStackDatagramEndpoint": "datagram.datagram_endpoint",
    "DualStackServerEndpoint": "server.server_endpoint",
}


def __getattr__(name: str) -> Any:
    # The drop-in loads the parsers at every start of twist; the endpoints load when one is used.
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
