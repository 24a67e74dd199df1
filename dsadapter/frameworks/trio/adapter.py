"""The built-in plugin ``trio``. The module is Trio's adapter for the framework registry, too.

It imports nothing of Trio before a factory is called.
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

    import trio

    from dsadapter.frameworks.trio.datagram.udp_socket import DualStackUDPSocket
    from dsadapter.policy import ConnectPolicy, DatagramPolicy, ListenPolicy

moduleProvides(IFrameworkAdapter)

name = "trio"
requirement = "dsadapter[trio]"


@provider(IServerEndpointFactory)
def server(
    runtime: Any, policy: ListenPolicy
) -> Callable[[], Coroutine[Any, Any, list[trio.SocketListener]]]:
    """An async function that listens; ``runtime`` is None."""
    from dsadapter.frameworks.trio.server.tcp_listeners import listen

    return partial(listen, policy)


@provider(IClientEndpointFactory)
def client(
    runtime: Any, target: tuple[str, int], policy: ConnectPolicy
) -> Callable[[], Coroutine[Any, Any, trio.SocketStream]]:
    """An async function that connects; ``runtime`` is None."""
    from dsadapter.frameworks.trio.client.tcp_stream import connect

    return partial(connect, target, policy)


@provider(IDatagramEndpointFactory)
def datagram(
    runtime: Any, policy: DatagramPolicy
) -> Callable[[], Coroutine[Any, Any, DualStackUDPSocket]]:
    """An async function that binds; ``runtime`` is None."""
    from dsadapter.frameworks.trio.datagram.udp_socket import bind

    return partial(bind, policy)


def is_available() -> bool:
    """Whether Trio is installed."""
    return find_spec("trio") is not None


@hookimpl
def dsadapter_register_frameworks() -> Any:
    """Contribute Trio."""
    return sys.modules[__name__]
