"""TLS around a server endpoint."""

from __future__ import annotations

import inspect
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

# The first releases write without waiting for a moment, and so without a clock.
_TAKES_CLOCK = "clock" in inspect.signature(TLSMemoryBIOFactory).parameters


@implementer(IStreamServerEndpoint)
class SSLServerEndpoint:
    """What :func:`wrapServerTLS` makes.

    Named as programs expect it: tahoe-lafs takes an endpoint whose class is ``SSL...`` for one with
    TLS.
    """

    def __init__(
        self,
        connectionCreator: IOpenSSLServerConnectionCreator,
        wrappedEndpoint: IStreamServerEndpoint,
        clock: IReactorTime | None = None,
    ) -> None:
        self._creator: Any = connectionCreator
        self._endpoint: Any = wrappedEndpoint
        self._settings: dict[str, Any] = {"clock": clock} if _TAKES_CLOCK else {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} around {self._endpoint!r}>"

    @property
    def _port(self) -> Any:
        """That of the endpoint inside, where it has one: Twisted's ``ssl:`` endpoints have."""
        return self._endpoint._port

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen as the endpoint inside does, and begin each connection with a handshake."""
        factory = TLSMemoryBIOFactory(self._creator, False, protocolFactory, **self._settings)
        listening: Deferred[IListeningPort] = self._endpoint.listen(factory)
        return listening


def wrapServerTLS(
    connectionCreator: IOpenSSLServerConnectionCreator,
    wrappedEndpoint: IStreamServerEndpoint,
    clock: IReactorTime | None = None,
) -> SSLServerEndpoint:
    """TLS around any server endpoint, as ``twisted.internet.endpoints.wrapServerTLS``, which came
    with Twisted 26.4, in every release.

    :param connectionCreator: what makes the TLS connections, such as a ``CertificateOptions``.
    :param wrappedEndpoint: what listens.
    :param clock: the reactor; None is the global one.
    """
    return SSLServerEndpoint(connectionCreator, wrappedEndpoint, clock)
