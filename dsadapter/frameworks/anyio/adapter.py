"""The built-in plugin ``anyio``. The module is AnyIO's adapter for the framework registry, too.

It imports nothing of AnyIO before a factory is called.
"""

from __future__ import annotations

import sys
from functools import partial
from importlib.util import find_spec
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

    from anyio.abc import SocketStream
    from anyio.streams.stapled import MultiListener

    from dsadapter.frameworks.anyio.datagram.udp_datagrams import DualStackUDPSocket
    from dsadapter.policy import ConnectPolicy, DatagramPolicy, ListenPolicy

moduleProvides(IFrameworkAdapter)

name = "anyio"
requirement = "dsadapter[anyio]"


@provider(IServerEndpointFactory)
def server(
    runtime: Any, policy: ListenPolicy
) -> Callable[[], Coroutine[Any, Any, MultiListener[SocketStream]]]:
    """An async function that listens; ``runtime`` is None."""
    from dsadapter.frameworks.anyio.server.socket_listener import listen

    return partial(listen, policy)


@provider(IClientEndpointFactory)
def client(
    runtime: Any, target: tuple[str, int], policy: ConnectPolicy
) -> Callable[[], Coroutine[Any, Any, SocketStream]]:
    """An async function that connects; ``runtime`` is None."""
    from dsadapter.frameworks.anyio.client.connecting_tcp import connect

    return partial(connect, target, policy)


@provider(IDatagramEndpointFactory)
def datagram(
    runtime: Any, policy: DatagramPolicy
) -> Callable[[], Coroutine[Any, Any, DualStackUDPSocket]]:
    """An async function that binds; ``runtime`` is None."""
    from dsadapter.frameworks.anyio.datagram.udp_datagrams import bind

    return partial(bind, policy)


def is_available() -> bool:
    """Whether AnyIO is installed."""
    return find_spec("anyio") is not None


@hookimpl
def dsadapter_register_frameworks() -> Any:
    """Contribute AnyIO."""
    return sys.modules[__name__]
