"""The built-in plugin ``asyncio``. The module is asyncio's adapter for the framework registry, too.

It imports nothing of asyncio before a factory is called.
"""

from __future__ import annotations

import sys
from functools import partial
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
    from collections.abc import Callable, Coroutine

    from dsadapter.frameworks.asyncio.datagram.datagram_transport import DualStackDatagramTransport
    from dsadapter.frameworks.asyncio.server.stream_server import DualStackServer
    from dsadapter.policy import ConnectPolicy, DatagramPolicy, ListenPolicy
    from dsadapter.sockets.canonical import CanonicalSocket

moduleProvides(IFrameworkAdapter)

name = "asyncio"
requirement = "python"


@provider(IServerEndpointFactory)
def server(
    runtime: Any, policy: ListenPolicy
) -> Callable[..., Coroutine[Any, Any, DualStackServer]]:
    """A coroutine function that takes a protocol factory and listens; ``runtime`` is None: the loop
    is the running one."""
    from dsadapter.frameworks.asyncio.server.stream_server import serve

    return partial(serve, [policy], backlog=policy.backlog)


@provider(IClientEndpointFactory)
def client(
    runtime: Any, target: tuple[str, int], policy: ConnectPolicy
) -> Callable[[], Coroutine[Any, Any, CanonicalSocket]]:
    """A coroutine function that connects and returns the socket; ``runtime`` is None: the loop is
    the running one."""
    from dsadapter.frameworks.asyncio.client.stream_client import race

    return partial(race, target, policy)


@provider(IDatagramEndpointFactory)
def datagram(
    runtime: Any, policy: DatagramPolicy
) -> Callable[..., Coroutine[Any, Any, tuple[DualStackDatagramTransport, Any]]]:
    """A coroutine function that takes a protocol factory and binds; ``runtime`` is None: the loop
    is the running one."""
    from dsadapter.frameworks.asyncio.datagram.datagram_creation import exchange

    return partial(exchange, policy)


def is_available() -> bool:
    """Always: it is Python's own."""
    return True


@hookimpl
def dsadapter_register_frameworks() -> Any:
    """Contribute asyncio."""
    return sys.modules[__name__]
