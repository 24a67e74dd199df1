"""Functions with the signatures of the running Python's asyncio."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from dsadapter.messages import quoted

F = TypeVar("F", bound=Callable[..., Any])


def like(name: str, **extras: Any) -> Callable[[F], F]:
    """Show the signature of an asyncio function, with parameters of ours.

    :param name: of a method of ``SelectorEventLoop``, or of a function of ``asyncio``. What a
        newer Python adds to it is passed on.
    :param extras: our own parameters, keyword-only, with their defaults.
    """
    signature = _signature(name)
    parameters = [p for p in signature.parameters.values() if p.name != "self"]
    ours = [
        inspect.Parameter(each, inspect.Parameter.KEYWORD_ONLY, default=default)
        for each, default in extras.items()
    ]
    rest = [p for p in parameters if p.kind is inspect.Parameter.VAR_KEYWORD]
    parameters = [p for p in parameters if p not in rest]

    def decorate(function: F) -> F:
        function.__signature__ = signature.replace(parameters=[*parameters, *ours, *rest])  # type: ignore[attr-defined]
        return function

    return decorate


def check_options(name: str, options: Mapping[str, object]) -> None:
    """Check the keyword arguments that a function has for an asyncio function of that name.

    :raises TypeError: for one that this has not on the running Python, as Python raises it.
    """
    for option in options:
        if option not in _signature(name).parameters:
            raise TypeError(f"{name}() got an unexpected keyword argument {option!r}")


def check_tls_options(options: Mapping[str, object]) -> None:
    """Check that there is none that means something with ``ssl`` alone.

    :raises ValueError: naming the option and its value.
    """
    for name in ("server_hostname", "ssl_handshake_timeout", "ssl_shutdown_timeout"):
        value = options.get(name)
        if value is not None:
            raise ValueError(f"{name} {quoted(value)} goes with ssl; give an SSLContext, too")


def _signature(name: str) -> inspect.Signature:
    return inspect.signature(
        getattr(asyncio, name, None) or getattr(asyncio.SelectorEventLoop, name)
    )
