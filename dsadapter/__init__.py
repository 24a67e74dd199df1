"""Dual-stack networking for existing frameworks, without IPv4-mapped addresses in the application.

The pure part is :mod:`dsadapter.addressing`; a framework's part is imported by its own name
(:mod:`dsadapter.frameworks.twisted`). Importing this package imports none of them, and no pluggy.
"""

from __future__ import annotations

# Typing alone takes longer to import than a package that imports nothing should.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, overload

    F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["__version__", "hookimpl"]

__version__ = "0.1.0.dev0"


if TYPE_CHECKING:

    @overload
    def hookimpl(function: F) -> F: ...
    @overload
    def hookimpl(
        function: None = None,
        *,
        optionalhook: bool = False,
        tryfirst: bool = False,
        trylast: bool = False,
        specname: str | None = None,
    ) -> Callable[[F], F]: ...


def hookimpl(function: Any = None, **options: Any) -> Any:
    """Mark a function as a plugin's implementation of a hook.

    :param function: the implementation, if used without parentheses.
    :param optionalhook: the running version of dsadapter may lack this hook.
    :param tryfirst: call it before implementations that don't say so.
    :param trylast: call it after implementations that don't say so.
    :param specname: the hook's name, if the function has another one.

    pluggy's ``HookimplMarker("dsadapter")``, which is imported when a function is marked.
    """
    from pluggy import HookimplMarker

    marker: Any = HookimplMarker("dsadapter")
    return marker(function, **options)
