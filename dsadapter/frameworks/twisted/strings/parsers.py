"""Endpoint strings: ``dualstack:`` and ``canonical:``.

The drop-in imports this module at every start of ``twist`` and of every program that parses an
endpoint string: it imports no reactor and no endpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import (
    IReactorTime,
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import IPlugin
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@implementer(IPlugin, IStreamServerEndpointStringParser)
class DualStackServerParser:
    """``dualstack:PORT`` or ``dualstack:port=PORT:interface=ADDRESS:backlog=N:reusePort=yes``; with
    TLS by ``tls=DIRECTORY`` or ``privateKey=FILE:certKey=FILE:extraCertChain=FILE``."""

    prefix = "dualstack"

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamServerEndpoint:
        """A :class:`~dsadapter.frameworks.twisted.DualStackServerEndpoint`, from the
        factory that the framework registry has for Twisted; with TLS, inside what Twisted wraps
        around an endpoint.

        :raises ValueError: naming the offending part and the form to use.
        :raises UnknownFrameworkError: if the plugin ``twisted`` is blocked.
        :raises PluginError: if a required plugin is not registered.
        """
        from dsadapter.frameworks import get_framework
        from dsadapter.frameworks.twisted.spelling import LISTENING, spelling
        from dsadapter.frameworks.twisted.strings.server_strings import TLS_OPTIONS, server_options
        from dsadapter.policy import ListenPolicy

        options = server_options(_as_text(args), {k: _text(v) for k, v in kwargs.items()})
        tls = {name: options.pop(name) for name in TLS_OPTIONS if name in options}

        with spelling(LISTENING):
            policy = ListenPolicy(**options)
        endpoint: IStreamServerEndpoint = get_framework("twisted").server(reactor, policy)
        return _over_tls(reactor, endpoint, tls) if tls else endpoint


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class DualStackClientParser:
    """``dualstack:HOST:PORT`` or
    ``dualstack:host=HOST:port=PORT:timeout=SECONDS:bindAddress=ADDRESS:attemptDelay=SECONDS``."""

    prefix = "dualstack"

    def parseStreamClient(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamClientEndpoint:
        """A :class:`~dsadapter.frameworks.twisted.DualStackClientEndpoint`, from the
        factory that the framework registry has for Twisted.

        :raises ValueError: naming the offending part and the form to use.
        :raises UnknownFrameworkError: if the plugin ``twisted`` is blocked.
        :raises PluginError: if a required plugin is not registered.
        """
        from dsadapter.frameworks import get_framework
        from dsadapter.frameworks.twisted.strings.client_strings import client_options

        target, policy = client_options(_as_text(args), {k: _text(v) for k, v in kwargs.items()})
        endpoint: IStreamClientEndpoint = get_framework("twisted").client(reactor, target, policy)
        return endpoint


@implementer(IPlugin, IStreamServerEndpointStringParser)
class CanonicalServerParser:
    """``canonical:`` before another server endpoint string; not built yet."""

    prefix = "canonical"

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamServerEndpoint:
        """:raises NotImplementedError: always."""
        raise NotImplementedError(
            "'canonical:' is not part of this version of dsadapter; "
            "listen with 'dualstack:PORT' instead of wrapping another endpoint"
        )


def _over_tls(
    reactor: Any, endpoint: IStreamServerEndpoint, options: Mapping[str, str]
) -> IStreamServerEndpoint:
    try:
        from dsadapter.frameworks.twisted import tls
    except ImportError as error:
        raise ValueError(f"dualstack: {next(iter(options))} can't be used: {error}") from error
    try:
        creator = tls.connectionCreatorFromOptions(options)
    except ValueError as error:
        raise ValueError(f"dualstack: {error}") from error
    # Without a clock TLS takes the global reactor's.
    return tls.wrapServerTLS(creator, endpoint, clock=IReactorTime(reactor, None))


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _as_text(values: Sequence[str | bytes]) -> list[str]:
    return [_text(value) for value in values]
