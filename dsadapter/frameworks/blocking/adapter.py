"""The built-in plugin ``blocking``. The module is the adapter of the standard library's blocking
sockets for the framework registry, too.
"""

from __future__ import annotations

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
    from dsadapter.frameworks.blocking.endpoints import (
        ClientEndpoint,
        DatagramEndpoint,
        ServerEndpoint,
    )
    from dsadapter.policy import ConnectPolicy, DatagramPolicy, ListenPolicy

moduleProvides(IFrameworkAdapter)

name = "blocking"
requirement = "python"


@provider(IServerEndpointFactory)
def server(runtime: Any, policy: ListenPolicy) -> ServerEndpoint:
    """Its ``listen()`` gives a socket; ``runtime`` is None."""
    from dsadapter.frameworks.blocking.endpoints import ServerEndpoint

    return ServerEndpoint(policy)


@provider(IClientEndpointFactory)
def client(runtime: Any, target: tuple[str, int], policy: ConnectPolicy) -> ClientEndpoint:
    """Its ``connect()`` gives a socket; ``runtime`` is None."""
    from dsadapter.frameworks.blocking.endpoints import ClientEndpoint

    return ClientEndpoint(target, policy)


@provider(IDatagramEndpointFactory)
def datagram(runtime: Any, policy: DatagramPolicy) -> DatagramEndpoint:
    """Its ``bind()`` gives a socket; ``runtime`` is None."""
    from dsadapter.frameworks.blocking.endpoints import DatagramEndpoint

    return DatagramEndpoint(policy)


def is_available() -> bool:
    """Always."""
    return True


@hookimpl
def dsadapter_register_frameworks() -> Any:
    """Contribute the standard library."""
    return sys.modules[__name__]
