"""What is wrong with a plugin, found before it is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from zope.interface.verify import verifyObject

from dsadapter.hooks.contracts import (
    IClientEndpointFactory,
    IDatagramEndpointFactory,
    IFrameworkAdapter,
    IServerEndpointFactory,
)
from dsadapter.hooks.specifications import ARGUMENTS
from dsadapter.hooks.wording import listing
from dsadapter.messages import did_you_mean

_FACTORIES = {
    "server": IServerEndpointFactory,
    "client": IClientEndpointFactory,
    "datagram": IDatagramEndpointFactory,
}


class InvalidPluginError(Exception):
    """What is wrong with a plugin, in words that need no traceback."""


def check_implementations(
    plugin: Any, options_of: Callable[[Any, str], Mapping[str, Any] | None]
) -> None:
    """Check every hook that a plugin implements.

    :param options_of: pluggy's ``parse_hookimpl_opts``: the options of a marked attribute, else
        None.
    :raises InvalidPluginError: for the first that is wrong, or if there is none.
    """
    marked = [(a, options) for a in dir(plugin) if (options := options_of(plugin, a)) is not None]
    if not marked:
        raise InvalidPluginError(
            "it implements no hook; mark its functions with dsadapter.hookimpl"
        )
    for attribute, options in marked:
        hook = options.get("specname") or attribute
        if hook in ARGUMENTS:
            _check_implementation(plugin, hook, getattr(plugin, attribute), options)
        elif not options.get("optionalhook"):
            raise InvalidPluginError(_unknown_hook(hook))


def _check_implementation(
    plugin: Any, hook: str, function: Callable[..., Any], options: Mapping[str, Any]
) -> None:
    if options.get("wrapper") or options.get("hookwrapper"):
        raise InvalidPluginError(
            f"{hook} is implemented as a wrapper; write a plain function, without 'yield'"
        )
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidPluginError(f"{hook} is 'async'; write a plain function, which does not wait")
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            raise InvalidPluginError(
                f"{hook} takes {parameter.name!r} by keyword alone; write it before the '*'"
            )
    for argument in _required_arguments(function):
        if inspect.isclass(plugin) and argument == "self":
            raise InvalidPluginError(
                f"it is the class {plugin.__qualname__}; name an instance, or a module"
            )
        if argument not in ARGUMENTS[hook]:
            raise InvalidPluginError(
                f"{hook} has no argument {argument!r}; it has {listing(ARGUMENTS[hook])}"
            )


def verify_adapter(adapter: Any) -> None:
    """Check a contributed framework adapter and its factories against their interfaces.

    :raises InvalidPluginError: naming the object, and what zope.interface misses.
    """
    try:
        verifyObject(IFrameworkAdapter, adapter)
        for attribute, interface in _FACTORIES.items():
            factory = getattr(adapter, attribute)
            if factory is not None:
                verifyObject(interface, factory)
    except Exception as error:
        raise InvalidPluginError(
            f"{adapter!r} does not verify as a framework adapter: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(adapter.name, str) or not adapter.name:
        raise InvalidPluginError(f"{adapter!r} has the name {adapter.name!r}, which is no text")


def _required_arguments(function: Callable[..., Any]) -> list[str]:
    # pluggy passes no argument that has a default.
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in positional and parameter.default is parameter.empty
    ]


def _unknown_hook(hook: str) -> str:
    remedy = did_you_mean(hook, ARGUMENTS) or f"; there are {listing(ARGUMENTS)}"
    return (
        f"there is no hook {hook!r}{remedy} (for a hook of another version of dsadapter, mark it "
        f"with hookimpl(optionalhook=True))"
    )
