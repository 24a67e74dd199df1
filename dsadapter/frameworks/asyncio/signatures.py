"""Functions with the signatures of the running Python's asyncio."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def like(name: str, **extras: Any) -> Callable[[F], F]:
    """Show the signature of an asyncio function, with parameters of ours.

    :param name: of a method of ``SelectorEventLoop``, or of a function of ``asyncio``. What a
        newer Python adds to it is passed on.
    :param extras: our own parameters, keyword-only, with their defaults.
    """
    original = getattr(asyncio, name, None) or getattr(asyncio.SelectorEventLoop, name)
    signature = inspect.signature(original)
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
