"""The plugin manager: which plugins there are, and what each contributes."""

from dsadapter.hooks.dispatch import Hooks
from dsadapter.hooks.manager import PluginManager, active_hooks, get_plugin_manager

__all__ = ["Hooks", "PluginManager", "active_hooks", "get_plugin_manager"]
