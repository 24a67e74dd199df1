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

from dsadapter.frameworks.twisted.option_values import (
    cut_literal,
    spaces_hint,
    whole_number,
    yes_or_no,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TLS_OPTIONS = ("tls", "privateKey", "certKey", "extraCertChain", "dhParameters")
_SERVER_OPTIONS = ("port", "interface", "backlog", "fallback", "reusePort", *_TLS_OPTIONS)


@implementer(IPlugin, IStreamServerEndpointStringParser)
class DualStackServerParser:
    """``dualstack:PORT`` or ``dualstack:port=PORT:interface=ADDRESS:backlog=N:reusePort=yes``; with
    TLS by ``tls=DIRECTORY`` or ``privateKey=FILE:certKey=FILE:extraCertChain=FILE``."""

    prefix = "dualstack"

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamServerEndpoint:
        """A :class:`~dsadapter.frameworks.twisted.endpoints.DualStackServerEndpoint`, from the
        factory that the framework registry has for Twisted; with TLS, inside what Twisted wraps
        around an endpoint.

        :raises ValueError: naming the offending part and the form to use.
        :raises UnknownFrameworkError: if the plugin ``twisted`` is blocked.
        :raises PluginError: if a required plugin is not registered.
        """
        options = _server_options(_as_text(args), {k: _text(v) for k, v in kwargs.items()})
        tls = {name: options.pop(name) for name in _TLS_OPTIONS if name in options}
        from dsadapter.frameworks import get_framework
        from dsadapter.policy import ListenPolicy

        endpoint: IStreamServerEndpoint = get_framework("twisted").server(
            reactor, ListenPolicy.for_interface(**options)
        )
        return _over_tls(reactor, endpoint, tls) if tls else endpoint


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class DualStackClientParser:
    """``dualstack:HOST:PORT`` or
    ``dualstack:host=HOST:port=PORT:timeout=SECONDS:bindAddress=ADDRESS:attemptDelay=SECONDS``."""

    prefix = "dualstack"

    def parseStreamClient(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamClientEndpoint:
        """A :class:`~dsadapter.frameworks.twisted.connecting.DualStackClientEndpoint`, from the
        factory that the framework registry has for Twisted.

        :raises ValueError: naming the offending part and the form to use.
        :raises UnknownFrameworkError: if the plugin ``twisted`` is blocked.
        :raises PluginError: if a required plugin is not registered.
        """
        from dsadapter.frameworks import get_framework
        from dsadapter.frameworks.twisted.client_strings import client_options

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


def _server_options(args: Sequence[str], kwargs: Mapping[str, str]) -> dict[str, Any]:
    _refuse_unescaped_literal(args, kwargs)
    for name in kwargs:
        if name not in _SERVER_OPTIONS:
            raise ValueError(
                f"dualstack: has no option {name!r}{spaces_hint(name)}; "
                f"it has {', '.join(_SERVER_OPTIONS)}"
            )
    options: dict[str, Any] = dict(kwargs)
    if len(args) > 1:
        raise ValueError(
            f"dualstack: does not take {args[1]!r} after the port; options are written "
            f"NAME=VALUE, as in 'dualstack:{args[0]}:interface=127.0.0.1'"
        )
    if args and "port" in options:
        raise ValueError(
            f"dualstack: got two ports, {args[0]!r} and port={options['port']!r}; give one"
        )
    if args:
        options["port"] = args[0]
    if "port" not in options:
        raise ValueError("dualstack: needs a port, as in 'dualstack:8080' or 'dualstack:port=8080'")
    options["port"] = whole_number("port", options["port"], 65535, "dualstack:8080")
    if "backlog" in options:
        options["backlog"] = whole_number(
            "backlog", options["backlog"], 2**31 - 1, "dualstack:8080:backlog=128"
        )
    if "reusePort" in options:
        options["reuse_port"] = yes_or_no("reusePort", options.pop("reusePort"))
    return {"interface": "::", **options}


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


def _refuse_unescaped_literal(args: Sequence[str], kwargs: Mapping[str, str]) -> None:
    """Recognise ``interface=::1`` and ``interface=[::1]``, whose colons Twisted took for
    separators, and brackets around an escaped address, and show what to type."""
    for port, parts in _splits(args, kwargs):
        cut = cut_literal(parts)
        if cut is not None:
            literal, bare = cut
            slip = "colons that need a backslash" if len(parts) > 1 else "brackets"
            # No repr: it would double the backslashes that have to be typed.
            raise ValueError(
                f"dualstack: {literal} has {slip}; write {_description(port, bare, kwargs)}"
            )


def _splits(args: Sequence[str], kwargs: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """The ways to tell the port from the parts of a literal that was cut at its colons."""
    cut = [kwargs["interface"]] if "interface" in kwargs else []
    if "port" in kwargs:
        return [(kwargs["port"], [*cut, *args])]
    ends = [(args[0], [*cut, *args[1:]]), (args[-1], [*cut, *args[:-1]])] if args else []
    return [split for split in ends if split[0].isdigit()] or [("PORT", [*cut, *args])]


def _description(port: str, literal: str, kwargs: Mapping[str, str]) -> str:
    from twisted.internet.endpoints import quoteStringArgument

    from dsadapter.addressing.text import unmap_text

    options = {**kwargs, "interface": unmap_text(literal)}
    options.pop("port", None)
    return ":".join(
        ["dualstack", port, *(f"{k}={quoteStringArgument(v)}" for k, v in options.items())]
    )


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _as_text(values: Sequence[str | bytes]) -> list[str]:
    return [_text(value) for value in values]
