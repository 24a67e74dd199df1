"""The frameworks that dual-stack endpoints exist for, and the registry of their adapters.

Import a framework's own module by its name (:mod:`dsadapter.frameworks.twisted`), or ask the
registry for its adapter. Neither imports another framework.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsadapter.hooks.contracts import IFrameworkAdapter
    from dsadapter.hooks.manager import PluginManager

__all__ = ["get_framework"]

# Those that are plugins of their own, which nothing here knows before they are installed.
_DISTRIBUTIONS = {"gevent": "dsadapter-gevent"}
_PARTS = {"uvloop": "asyncio", "socket": "blocking", "socketserver": "blocking"}
"""What an adapter of another name serves, too."""


def get_framework(name: str) -> IFrameworkAdapter:
    """The adapter of a framework, with its endpoint factories.

    The built-in frameworks and a stranger's come by the same hook,
    ``dsadapter_register_frameworks``.

    :param name: the framework's name, such as ``"twisted"``.
    :returns: its adapter.
    :raises UnknownFrameworkError: if no plugin contributes it, or it is not installed; the message
        says what there is and what to install.
    :raises PluginError: if a required plugin is not registered.
    """
    # pluggy and zope.interface take their time.
    from dsadapter.errors import UnknownFrameworkError
    from dsadapter.hooks.manager import get_plugin_manager
    from dsadapter.messages import did_you_mean

    manager = get_plugin_manager()
    manager.check_required()
    adapter = manager.frameworks.get(name)
    if adapter is None:
        distribution = _DISTRIBUTIONS.get(name)
        kept_out = name in manager.blocked or name in manager.failures
        instead = ""
        if name in _PARTS:
            instead = f"; {_PARTS[name]!r} serves it, too"
        elif distribution and not kept_out:
            instead = f"; install {distribution!r}"
        elif not kept_out:
            instead = did_you_mean(str(name), manager.frameworks)
        raise UnknownFrameworkError(
            f"no plugin contributes the framework {name!r}{instead}; {_overview(manager)}"
        )
    if not adapter.is_available():
        raise UnknownFrameworkError(
            f"the framework {name!r} is not installed; install {adapter.requirement!r}, "
            f"or use another one: {_overview(manager)}"
        )
    return adapter


def _overview(manager: PluginManager) -> str:
    there = _listing(f"{n} ({_state(a)})" for n, a in sorted(manager.frameworks.items()))
    parts = [f"there are: {there}"]
    if manager.blocked:
        parts.append(f"blocked plugins: {_listing(sorted(manager.blocked))}")
    if manager.failures:
        parts.append(f"broken plugins: {_listing(sorted(manager.failures))}")
    return "; ".join(parts)


def _state(adapter: IFrameworkAdapter) -> str:
    return "installed" if adapter.is_available() else f"install {adapter.requirement!r}"


def _listing(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
