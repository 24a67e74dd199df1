"""Packages of frameworks whose names load when they are asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(
    package: str, modules: Mapping[str, str], framework: str | None = None, extra: str | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package: the registry imports the adapter, which is in
    it, for whoever opens anything.

    :param modules: which submodule each public name is in.
    :param framework: the distribution that they need; None for the standard library.
    :param extra: the extra that installs it; None for a dependency of the core.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            module = importlib.import_module(f"{package}.{modules[name]}")
        except ModuleNotFoundError as error:
            if error.name != framework or framework is None:
                raise
            raise ModuleNotFoundError(
                f"{framework} is not installed; install {f'dsadapter[{extra}]'!r}", name=framework
            ) from error
        return getattr(module, name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return get, names
