"""What framework adapters provide, and what they hand to plugins."""

from dsadapter.hooks.contracts import (
    IClientEndpointFactory,
    IDatagramEndpointFactory,
    IDatagramListener,
    IFrameworkAdapter,
    IListener,
    IPacketInfoReceiver,
    IServerEndpointFactory,
)

__all__ = [
    "IClientEndpointFactory",
    "IDatagramEndpointFactory",
    "IDatagramListener",
    "IFrameworkAdapter",
    "IListener",
    "IPacketInfoReceiver",
    "IServerEndpointFactory",
]
