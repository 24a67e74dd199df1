"""The built-in plugin ``twisted``. The module is Twisted's adapter for the framework registry, too.

It imports nothing of Twisted before a factory is called.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from zope.interface import moduleProvides, provider

from dsadapter import hookimpl
from dsadapter.hooks.contracts import (
    IClientEndpointFactory,
    IDatagramEndpointFactory,
    IFrameworkAdapter,
    IServerEndpointFactory,
)

if TYPE_CHECKING:
    from dsadapter.frameworks.twisted.client.client_endpoint import DualStackClientEndpoint
    from dsadapter.frameworks.twisted.datagram.datagram_endpoint import DualStackDatagramEndpoint
    from dsadapter.frameworks.twisted.server.server_endpoint import DualStackServerEndpoint
    from dsadapter.policy import ConnectPolicy, DatagramPolicy, ListenPolicy

moduleProvides(IFrameworkAdapter)

name = "twisted"
requirement = "twisted>=22.10"


@provider(IServerEndpointFactory)
def server(runtime: Any, policy: ListenPolicy) -> DualStackServerEndpoint:
    """An ``IStreamServerEndpoint``; ``runtime`` is the reactor."""
    from dsadapter.frameworks.twisted.server.server_endpoint import DualStackServerEndpoint

    return DualStackServerEndpoint.withPolicy(runtime, policy)


@provider(IClientEndpointFactory)
def client(runtime: Any, target: tuple[str, int], policy: ConnectPolicy) -> DualStackClientEndpoint:
    """An ``IStreamClientEndpoint``; ``runtime`` is the reactor."""
    from dsadapter.frameworks.twisted.client.client_endpoint import DualStackClientEndpoint

    return DualStackClientEndpoint.withPolicy(runtime, target, policy)


@provider(IDatagramEndpointFactory)
def datagram(runtime: Any, policy: DatagramPolicy) -> DualStackDatagramEndpoint:
    """The endpoint; ``runtime`` is the reactor."""
    from dsadapter.frameworks.twisted.datagram.datagram_endpoint import DualStackDatagramEndpoint

    return DualStackDatagramEndpoint.withPolicy(runtime, policy)


def is_available() -> bool:
    """Whether Twisted is installed."""
    return importlib.util.find_spec("twisted") is not None


@hookimpl
def dsadapter_register_frameworks() -> Any:
    """Contribute Twisted."""
    return sys.modules[__name__]
