"""Plugins that are registered for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from dsadapter.hooks.manager import get_plugin_manager

T = TypeVar("T")


@contextmanager
def registered(plugin: T, name: str | None = None) -> Iterator[T]:
    """Register a plugin with the manager of this process, and take it away again.

    :param name: as for :meth:`~dsadapter.hooks.manager.PluginManager.register`.
    :raises PluginError: if it is broken.
    """
    manager = get_plugin_manager()
    name = manager.register(plugin, name)
    try:
        yield plugin
    finally:
        # It may have taken itself away.
        if manager.plugins.get(name) is plugin:
            manager.unregister(name)
