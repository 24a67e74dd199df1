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

    from dsadapter.frameworks.twisted.strings.words import Words


class _ServerParser:
    prefix: str

    def __radd__(self, other: str) -> str:
        """``strports.listen`` takes what a plugin parses for the end of a method's name."""
        raise TypeError(
            f"strports.listen takes no endpoint plugin such as '{self.prefix}:'; call "
            f"strports.service(description, factory), or "
            f"serverFromString(reactor, description).listen(factory)"
        )


@implementer(IPlugin, IStreamServerEndpointStringParser)
class DualStackServerParser(_ServerParser):
    """``dualstack:PORT`` or ``dualstack:port=PORT:interface=ADDRESS:backlog=N:reusePort=yes``; with
    TLS by ``tls=DIRECTORY`` or ``privateKey=FILE:certKey=FILE:extraCertChain=FILE``. In place of
    the port ``systemd=INDEX``, ``systemd=NAME`` or ``fd=N`` for a socket that is open already."""

    prefix = "dualstack"

    def parseStreamServer(  # type: ignore[override]
        self, reactor: Any, /, *args: Any, **kwargs: Any
    ) -> IStreamServerEndpoint:
        """A :class:`~dsadapter.frameworks.twisted.DualStackServerEndpoint`, from the
        factory that the framework registry has for Twisted; with TLS, inside a
        :class:`~dsadapter.frameworks.twisted.tls.SSLServerEndpoint`.

        :raises ValueError: naming the offending part and the form to use.
        :raises UnknownFrameworkError: if the plugin ``twisted`` is blocked.
        :raises PluginError: if a required plugin is not registered.
        """
        from dsadapter.frameworks.twisted.strings.server_strings import parse_server

        words = _words(args, kwargs)
        policy, tls = parse_server(words)
        endpoint: IStreamServerEndpoint = _adapter().server(reactor, policy)
        return _over_tls(reactor, endpoint, tls, words) if tls else endpoint


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class DualStackClientParser:
    """``dualstack:HOST:PORT`` or
    ``dualstack:host=HOST:port=PORT:timeout=SECONDS:bindAddress=ADDRESS:attemptDelay=SECONDS``."""

    prefix = "dualstack"

    def parseStreamClient(  # type: ignore[override]
        self, reactor: Any, /, *args: Any, **kwargs: Any
    ) -> IStreamClientEndpoint:
        """A :class:`~dsadapter.frameworks.twisted.DualStackClientEndpoint`, from the
        factory that the framework registry has for Twisted.

        :raises ValueError: naming the offending part and the form to use.
        :raises UnknownFrameworkError: if the plugin ``twisted`` is blocked.
        :raises PluginError: if a required plugin is not registered.
        """
        from dsadapter.frameworks.twisted.strings.client_strings import parse_client

        target, policy = parse_client(_words(args, kwargs))
        endpoint: IStreamClientEndpoint = _adapter().client(reactor, target, policy)
        return endpoint


@implementer(IPlugin, IStreamServerEndpointStringParser)
class CanonicalServerParser(_ServerParser):
    """``canonical:`` before another server endpoint string, as in ``canonical:tcp6:8080``."""

    prefix = "canonical"

    def parseStreamServer(  # type: ignore[override]
        self, reactor: Any, /, *args: Any, **kwargs: Any
    ) -> IStreamServerEndpoint:
        """A :class:`~dsadapter.frameworks.twisted.CanonicalServerEndpoint` around what the rest of
        the string means.

        :raises ValueError: if that is no server endpoint string; what its own parser raises
            otherwise.
        """
        from twisted.internet.endpoints import serverFromString

        from dsadapter.frameworks.twisted.server.canonical_endpoint import CanonicalServerEndpoint

        words = _words(args, kwargs)
        described = words.inner()
        if not words.positional or not words.positional[0].isidentifier():
            raise ValueError(
                f"canonical:{described} needs another server endpoint string; write it as in "
                f"'canonical:tcp6:8080'"
            )
        return CanonicalServerEndpoint(serverFromString(reactor, described))


def _adapter() -> Any:
    """Twisted's adapter, from the registry; what loading plugins says reaches Twisted's log."""
    from dsadapter.frameworks import get_framework
    from dsadapter.frameworks.twisted.log_carrier import carry_log

    carry_log()
    return get_framework("twisted")


def _over_tls(
    reactor: Any, endpoint: IStreamServerEndpoint, options: Mapping[str, str], words: Words
) -> IStreamServerEndpoint:
    try:
        from dsadapter.frameworks.twisted import tls
    except ImportError as error:
        raise ValueError(
            f"{words.shown()}: {next(iter(options))} can't be used: {error}"
        ) from error
    try:
        creator = tls.connectionCreatorFromOptions(options)
    except ValueError as error:
        raise ValueError(f"{words.shown()}: {error}") from error
    # Without a clock TLS takes the global reactor's.
    return tls.wrapServerTLS(creator, endpoint, clock=IReactorTime(reactor, None))


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _words(args: Sequence[str | bytes], kwargs: Mapping[str, str | bytes]) -> Words:
    from dsadapter.frameworks.twisted.strings.words import Words

    return Words(tuple(map(_text, args)), {name: _text(value) for name, value in kwargs.items()})
