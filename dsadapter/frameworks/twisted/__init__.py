"""Twisted endpoints. Importing this package installs no reactor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsadapter.frameworks.lazy import lazy_names

if TYPE_CHECKING:
    from dsadapter.frameworks.twisted.client.client_endpoint import DualStackClientEndpoint
    from dsadapter.frameworks.twisted.client.connecting_errors import ConnectingError
    from dsadapter.frameworks.twisted.datagram.datagram_endpoint import DualStackDatagramEndpoint
    from dsadapter.frameworks.twisted.server.canonical_endpoint import CanonicalServerEndpoint
    from dsadapter.frameworks.twisted.server.server_endpoint import DualStackServerEndpoint
    from dsadapter.frameworks.twisted.web import DualStackAgentEndpointFactory

__all__ = [
    "CanonicalServerEndpoint",
    "ConnectingError",
    "DualStackAgentEndpointFactory",
    "DualStackClientEndpoint",
    "DualStackDatagramEndpoint",
    "DualStackServerEndpoint",
]

_MODULES = {
    "CanonicalServerEndpoint": "server.canonical_endpoint",
    "ConnectingError": "client.connecting_errors",
    "DualStackAgentEndpointFactory": "web",
    "DualStackClientEndpoint": "client.client_endpoint",
    "DualStackDatagramEndpoint": "datagram.datagram_endpoint",
    "DualStackServerEndpoint": "server.server_endpoint",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
