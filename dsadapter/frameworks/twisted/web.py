"""HTTP clients: how ``twisted.web.client.Agent``, and what is built on it, connects.

Imported when it is asked for, not before: twisted.web takes its time.
"""

from __future__ import annotations

import inspect
from typing import Any, TypedDict, Unpack

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import (
    IHostnameResolver,
    IProtocol,
    IProtocolFactory,
    IResolver,
    IStreamClientEndpoint,
)
from twisted.web.client import URI, BrowserLikePolicyForHTTPS  # noqa: TID251
from twisted.web.error import SchemeNotSupported  # noqa: TID251
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS  # noqa: TID251
from zope.interface import implementer

from dsadapter.addressing.hosts import canonical_host
from dsadapter.frameworks.twisted.client.client_endpoint import DualStackClientEndpoint
from dsadapter.policy import DEFAULT_TIMEOUT, LookupWay, MappedAddresses

_PLAIN = (b"http", b"ws")
_TLS = (b"https", b"wss")
# Older releases take the global reactor's.
_TAKES_CLOCK = "clock" in inspect.signature(wrapClientTLS).parameters


class ConnectOptions(TypedDict, total=False):
    """The keyword arguments of :class:`DualStackClientEndpoint`."""

    timeout: float | None
    bindAddress: str | tuple[str, int] | None
    attemptDelay: float
    resolver: IHostnameResolver | IResolver | None
    firstAddressFamilyCount: int
    rememberOutcomes: bool
    mappedAddresses: MappedAddresses
    lookup: LookupWay | None


@implementer(IAgentEndpointFactory)
class DualStackAgentEndpointFactory:
    """Connects the requests of an ``Agent`` through :class:`DualStackClientEndpoint`, with TLS for
    ``https``. A server is verified against the host of the URI: the name without a trailing dot
    (RFC 6066, section 3), or the canonical address, so a mapped literal is verified as IPv4.

    Make the agent with
    ``Agent.usingEndpointFactory(reactor, DualStackAgentEndpointFactory(reactor))``.

    :param reactor: the reactor to connect with.
    :param policyForHTTPS: an ``IPolicyForHTTPS``; by default a ``BrowserLikePolicyForHTTPS``, which
        trusts the system's certificate authorities.
    :param options: the keyword arguments of :class:`DualStackClientEndpoint`.
    :raises ValueError: naming the offending value and the form to use.
    """

    def __init__(
        self,
        reactor: Any,
        policyForHTTPS: IPolicyForHTTPS | None = None,
        **options: Unpack[ConnectOptions],
    ) -> None:
        policy = BrowserLikePolicyForHTTPS() if policyForHTTPS is None else policyForHTTPS
        if not IPolicyForHTTPS.providedBy(policy):
            raise ValueError(
                f"policyForHTTPS {policyForHTTPS!r} is not an IPolicyForHTTPS, such as "
                f"BrowserLikePolicyForHTTPS(trustRoot)"
            )
        # Report a bad option now, not at each request.
        DualStackClientEndpoint(reactor, "localhost", 80, **options)
        self._reactor = reactor
        self._policyForHTTPS = policy
        self._options = options

    @property
    def _connectTimeout(self) -> float | None:
        """As Twisted's own factory has it: Scrapy reads it."""
        return self._options.get("timeout", DEFAULT_TIMEOUT)

    @property
    def _bindAddress(self) -> str | tuple[str, int] | None:
        """The same."""
        return self._options.get("bindAddress")

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """The endpoint for one request; called by the agent.

        For a refused host, connecting fails with a ``ValueError`` that names it, and without the
        packages for TLS with an ``ImportError`` that does, so a request always returns a Deferred.

        :raises SchemeNotSupported: for a scheme that is not one of HTTP or WebSocket.
        """
        if uri.scheme not in (*_PLAIN, *_TLS):
            raise SchemeNotSupported(f"Unsupported scheme: {uri.scheme!r}")
        try:
            return self._endpoint(uri)
        except (ImportError, ValueError) as error:
            return _FailingEndpoint(error)

    def _endpoint(self, uri: URI) -> IStreamClientEndpoint:
        host = canonical_host(_host(uri))
        endpoint = DualStackClientEndpoint(self._reactor, host, uri.port, **self._options)
        if uri.scheme in _PLAIN:
            return endpoint
        name = host.partition("%")[0].removesuffix(".")
        try:
            creator = self._policyForHTTPS.creatorForNetloc(name.encode("ascii"), uri.port)
        except ValueError as error:
            raise ValueError(
                f"host {host!r} is no name that a certificate can have ({error}); give one that is"
            ) from error
        except NotImplementedError:
            # What Twisted raises without pyOpenSSL; this import says what to install.
            import dsadapter.frameworks.twisted.tls  # noqa: F401

            raise
        settings = {"clock": self._reactor} if _TAKES_CLOCK else {}
        return wrapClientTLS(creator, endpoint, **settings)


@implementer(IStreamClientEndpoint)
class _FailingEndpoint:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return fail(self._error)


def _host(uri: URI) -> str:
    host = uri.host.decode("ascii")
    # In a URI the percent sign before a zone id is encoded (RFC 6874, section 2).
    address, _, zone = host.partition("%25")
    return f"{address}%{zone}" if zone else host
