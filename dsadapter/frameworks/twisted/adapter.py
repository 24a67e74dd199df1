"""The built-in plugin ``twisted``: Twisted's adapter for the framework registry.

It imports nothing of Twisted before a factory is called.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from dsadapter import hookimpl
from dsadapter.hooks.contracts import (
    IClientEndpointFactory,
    IDatagramEndpointFactory,
    IFrameworkAdapter,
    IServerEndpointFactory,
)

if TYPE_CHECKING:
    from dsadapter.policy import ConnectPolicy, DatagramPolicy, ListenPolicy


@implementer(IServerEndpointFactory)
class TwistedServerFactory:
    """Makes a :class:`~dsadapter.frameworks.twisted.DualStackServerEndpoint`."""

    def __call__(self, runtime: Any, policy: ListenPolicy) -> Any:
        """An ``IStreamServerEndpoint``; ``runtime`` is the reactor."""
        from dsadapter.frameworks.twisted.server.server_endpoint import DualStackServerEndpoint

        return DualStackServerEndpoint.withPolicy(runtime, policy)


@implementer(IClientEndpointFactory)
class TwistedClientFactory:
    """Makes a :class:`~dsadapter.frameworks.twisted.DualStackClientEndpoint`."""

    def __call__(self, runtime: Any, target: tuple[str, int], policy: ConnectPolicy) -> Any:
        """An ``IStreamClientEndpoint``; ``runtime`` is the reactor."""
        from dsadapter.frameworks.twisted.client.client_endpoint import DualStackClientEndpoint

        return DualStackClientEndpoint.withPolicy(runtime, target, policy)


@implementer(IDatagramEndpointFactory)
class TwistedDatagramFactory:
    """Makes a :class:`~dsadapter.frameworks.twisted.DualStackDatagramEndpoint`."""

    def __call__(self, runtime: Any, policy: DatagramPolicy) -> Any:
        """The endpoint; ``runtime`` is the reactor."""
        from dsadapter.frameworks.twisted.datagram.datagram_endpoint import (
            DualStackDatagramEndpoint,
        )

        return DualStackDatagramEndpoint.withPolicy(runtime, policy)


@implementer(IFrameworkAdapter)
class TwistedAdapter:
    """Twisted; what it has no factory for yet is None."""

    name = "twisted"
    requirement = "twisted>=22.10"
    server = TwistedServerFactory()
    client = TwistedClientFactory()
    datagram = TwistedDatagramFactory()

    def is_available(self) -> bool:
        """Whether Twisted is installed."""
        return importlib.util.find_spec("twisted") is not None


@hookimpl
def dsadapter_register_frameworks() -> TwistedAdapter:
    """Contribute Twisted."""
    return TwistedAdapter()
