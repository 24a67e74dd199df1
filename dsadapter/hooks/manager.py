"""The plugin manager: which plugins there are, and what each contributes."""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.metadata import EntryPoint, distributions, entry_points
from types import MappingProxyType
from typing import Any

import pluggy

from dsadapter.errors import PluginError
from dsadapter.hooks import specifications
from dsadapter.hooks.contracts import IFrameworkAdapter
from dsadapter.hooks.dispatch import Hooks
from dsadapter.hooks.specifications import CHECKS, OBSERVERS, Implementation
from dsadapter.hooks.validation import InvalidPluginError, check_implementations, verify_adapter
from dsadapter.hooks.wording import BLOCK_VARIABLE, REQUIRE_VARIABLE, listing, remedy
from dsadapter.messages import did_you_mean, quoted, said_by, said_of

PROJECT = "dsadapter"
"""The pluggy project, and the group of the entry points."""
BUILT_IN = {
    "anyio": "dsadapter.frameworks.anyio.adapter",
    "asyncio": "dsadapter.frameworks.asyncio.adapter",
    "blocking": "dsadapter.frameworks.blocking.adapter",
    "trio": "dsadapter.frameworks.trio.adapter",
    "twisted": "dsadapter.frameworks.twisted.adapter",
}
"""Modules that are plugins too, by name; a blocked one is not even imported."""

_REGISTER_FRAMEWORKS = "dsadapter_register_frameworks"

logger = logging.getLogger("dsadapter.plugins")


class PluginManager:
    """Plugins, the frameworks that they contribute, and their hooks as plain calls.

    A program has one, :func:`get_plugin_manager`. The methods may be called from any thread; what
    plugins implement is called in the thread of the framework.

    :param block: names of plugins to keep out, beside those of ``DSADAPTER_BLOCK_PLUGINS``.
    :param require: names of plugins without which nothing opens, beside those of
        ``DSADAPTER_REQUIRE_PLUGINS``.

    Both variables hold names of entry points, separated by commas.
    """

    def __init__(self, *, block: Iterable[str] = (), require: Iterable[str] = ()) -> None:
        self._pluggy = pluggy.PluginManager(PROJECT)
        self._pluggy.add_hookspecs(specifications)
        self._lock = threading.RLock()
        self._loaded = False
        self._blocked = {*block, *names_in(BLOCK_VARIABLE)}
        self._required = {*require, *names_in(REQUIRE_VARIABLE)}
        self._frameworks: dict[str, tuple[str, IFrameworkAdapter]] = {}
        self._sources: dict[str, str] = {}
        self._failures: dict[str, str] = {}
        self.hooks = Hooks()
        """The hooks as plain callables, up to date whatever comes and goes."""

    @property
    def plugins(self) -> Mapping[str, Any]:
        """The registered plugins by name."""
        return MappingProxyType(dict(self._pluggy.list_name_plugin()))

    @property
    def frameworks(self) -> Mapping[str, IFrameworkAdapter]:
        """The contributed adapters by name of the framework."""
        return MappingProxyType({name: adapter for name, (_, adapter) in self._frameworks.items()})

    @property
    def sources(self) -> Mapping[str, str]:
        """Where each registered plugin comes from, by its name: a distribution with its version, or
        what else there is to say."""
        return MappingProxyType(self._sources)

    @property
    def failures(self) -> Mapping[str, str]:
        """Why plugins were skipped, by name; what was logged about them."""
        return MappingProxyType(self._failures)

    @property
    def blocked(self) -> frozenset[str]:
        """The names that are kept out."""
        return frozenset(self._blocked)

    def load(self) -> None:
        """Register the built-in and the installed plugins, unless that has been done.

        A broken one is skipped, with one message in the log.
        """
        with self._lock:
            if self._loaded:
                return
            self._loaded = True
            installed = sorted(installed_plugins(), key=lambda e: e.name)
            self._warn_of_unknown({*BUILT_IN, *(e.name for e in installed)})
            for name, module in BUILT_IN.items():
                self._try(name, "built in", partial(importlib.import_module, module))
            for entry_point in installed:
                self._try(entry_point.name, _source(entry_point), entry_point.load)

    def register(self, plugin: Any, name: str | None = None) -> str:
        """Register a module, an instance or a class with marked functions; open listeners call it
        from now on.

        :param name: how messages and :meth:`unregister` call it; else its ``__name__``, or that of
            its class.
        :returns: the name.
        :raises PluginError: if it is broken, blocked, or the name is taken; then nothing of it
            stays.
        """
        if name is None:
            name = getattr(plugin, "__name__", None) or type(plugin).__name__
        with self._lock:
            self._register(plugin, name, "registered by the program")
            self._failures.pop(name, None)
        return name

    def unregister(self, name: str) -> None:
        """Forget a plugin and the frameworks that it contributed; it is not called again, also not
        for what is open.

        :raises PluginError: if no plugin has this name.
        """
        with self._lock:
            if not self._pluggy.has_plugin(name):
                raise PluginError(
                    f"no plugin is called {name!r}; there are {listing(self.plugins)}", name
                )
            self._pluggy.unregister(name=name)
            self._sources.pop(name, None)
            self._frameworks = {
                framework: (owner, adapter)
                for framework, (owner, adapter) in self._frameworks.items()
                if owner != name
            }
            self._compile()

    def block(self, name: str) -> None:
        """Keep a plugin out from now on; forget it if it is registered."""
        with self._lock:
            self._blocked.add(name)
            if self._pluggy.has_plugin(name):
                self.unregister(name)

    def implementers(self, hook: str) -> list[str]:
        """The names of the plugins that implement a hook, in the order of calling."""
        calls = getattr(self._pluggy.hook, hook).get_hookimpls()
        return [implementation.plugin_name for implementation in reversed(calls)]

    def contributions(self, hook: str) -> list[tuple[str, Any]]:
        """What plugins contribute to something that asks when it needs it.

        :param hook: the name of a hook without arguments.
        :returns: the name of each plugin that implements it, and what it returned, in the order of
            calling.
        :raises PluginError: if a plugin raises; the names of others do not follow.
        """
        found = []
        for implementation in reversed(getattr(self._pluggy.hook, hook).get_hookimpls()):
            name = implementation.plugin_name
            try:
                found.append((name, implementation.function()))
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                raise _broken(
                    name, self._sources[name], f"it raised {_explained(error)}, in {hook}"
                ) from error
        return found

    def check_required(self) -> None:
        """Whatever opens something calls this first.

        :raises PluginError: naming the first required plugin that is not registered, and why not.
        """
        for name in sorted(self._required):
            if not self._pluggy.has_plugin(name):
                raise PluginError(
                    f"plugin {name!r} is required and {self._absence(name)}, so nothing opens; "
                    f"fix that, or take it out of {REQUIRE_VARIABLE}",
                    name,
                )

    def _warn_of_unknown(self, installed: set[str]) -> None:
        for name in sorted(self._blocked - installed):
            logger.warning(
                "no installed plugin is called %r, which %s keeps out%s (there are %s)",
                name,
                BLOCK_VARIABLE,
                did_you_mean(name, installed),
                listing(sorted(installed)),
            )

    def _absence(self, name: str) -> str:
        if name in self._blocked:
            return "blocked"
        if name in self._failures:
            return f"broken ({self._failures[name]})"
        there = listing(sorted(self.plugins))
        return f"not registered{did_you_mean(name, self.plugins)} (there are {there})"

    def _try(self, name: str, source: str, load: Callable[[], Any]) -> None:
        if name in self._blocked:
            return
        try:
            if name in self._sources:
                raise PluginError(
                    f"plugin {name!r} ({source}) has the name of another one "
                    f"({self._sources[name]}), which is kept. Rename its entry point, or uninstall "
                    f"one of the two",
                    name,
                )
            try:
                plugin = load()
            except KeyboardInterrupt:
                raise
            # A module that calls sys.exit() doesn't end the server.
            except BaseException as error:
                raise _broken(name, source, f"can't be imported: {_explained(error)}") from error
            self._register(plugin, name, source)
        except PluginError as error:
            self._failures.setdefault(name, str(error))
            logger.error("%s", error, exc_info=_cause(error))

    def _register(self, plugin: Any, name: str, source: str) -> None:
        if name in self._blocked:
            raise PluginError(f"plugin {name!r} is blocked ({BLOCK_VARIABLE})", name)
        if self._pluggy.has_plugin(name):
            raise PluginError(
                f"a plugin called {name!r} is registered already; register it under another name",
                name,
            )
        try:
            check_implementations(plugin, self._pluggy.parse_hookimpl_opts)
            self._pluggy.register(plugin, name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # It may have a name, and nothing behind it.
            if self._pluggy.get_plugin(name) is plugin:
                self._pluggy.unregister(name=name)
            raise _broken(name, source, _fault(error)) from error
        try:
            contributed = self._contributed_by(plugin)
        except BaseException as error:
            self._pluggy.unregister(name=name)
            if isinstance(error, KeyboardInterrupt):
                raise
            raise _broken(name, source, f"{_fault(error)}, in {_REGISTER_FRAMEWORKS}") from error
        self._sources[name] = source
        self._frameworks.update({adapter.name: (name, adapter) for adapter in contributed})
        self._compile()

    def _contributed_by(self, plugin: Any) -> list[IFrameworkAdapter]:
        adapters: list[IFrameworkAdapter] = []
        for implementation in getattr(self._pluggy.hook, _REGISTER_FRAMEWORKS).get_hookimpls():
            if implementation.plugin is not plugin:
                continue
            result = implementation.function()
            if inspect.iscoroutine(result):
                result.close()
                raise InvalidPluginError("it returned a coroutine, which nobody awaits")
            if result is None:
                continue
            adapters += result if isinstance(result, (list, tuple)) else [result]
        names = set(self._frameworks)
        for adapter in adapters:
            verify_adapter(adapter)
            if adapter.name in names:
                owner = self._frameworks.get(adapter.name, ("this very plugin", None))[0]
                raise InvalidPluginError(
                    f"the framework {adapter.name!r} is contributed by {owner!r} already"
                )
            names.add(adapter.name)
        return adapters

    def _compile(self) -> None:
        self.hooks.compile(
            {
                hook: [
                    Implementation(i.plugin_name, i.function, tuple(i.argnames))
                    # pluggy keeps them in the reverse order of calling.
                    for i in reversed(getattr(self._pluggy.hook, hook).get_hookimpls())
                ]
                for hook in (*CHECKS, *OBSERVERS)
            }
        )


_manager: PluginManager | None = None
_loaded: PluginManager | None = None
_making = threading.RLock()


def get_plugin_manager(*, block: Iterable[str] = (), require: Iterable[str] = ()) -> PluginManager:
    """The plugin manager of this process; the first call makes it and loads what is installed.

    :param block: as for :class:`PluginManager`; only for the call that makes it.
    :param require: likewise.
    :raises RuntimeError: if names are given when the manager has been made already.
    """
    global _loaded, _manager
    if _loaded is not None and not (block or require):
        # Without the lock: every endpoint asks.
        return _loaded
    # A thread that comes meanwhile waits; a plugin that asks while it is loaded gets it.
    with _making:
        if _manager is None:
            _manager = PluginManager(block=block, require=require)
            _manager.load()
            _loaded = _manager
        elif block or require:
            raise RuntimeError(
                "the plugin manager has been made already; call get_plugin_manager(block=..., "
                "require=...) before anything opens, or its method block()"
            )
        return _manager


def active_hooks() -> Hooks:
    """The hooks for something that is about to open.

    :raises PluginError: if a required plugin is not registered.
    """
    # Without the lock: every connection asks.
    manager = _loaded or get_plugin_manager()
    if manager._required:
        manager.check_required()
    return manager.hooks


def installed_plugins() -> list[EntryPoint]:
    """The entry points of installed plugins; an unreadable distribution hides only its own."""
    try:
        return list(entry_points(group=PROJECT))
    except Exception:
        # One that is broken breaks the list of all.
        found: dict[str, EntryPoint] = {}
        for distribution in distributions():
            try:
                for entry_point in distribution.entry_points.select(group=PROJECT):
                    # Python, too, takes the first of two.
                    found.setdefault(entry_point.name, entry_point)
            except Exception as error:
                place = str(getattr(distribution, "_path", distribution))
                logger.error(
                    "the entry points of an installed distribution (%s) can't be read: %s; install "
                    "it again, or remove it",
                    quoted(place),
                    said_of(error),
                    extra={"place": place},
                )
        return list(found.values())


def _fault(error: BaseException) -> str:
    """What is wrong with a plugin that can't be registered."""
    if isinstance(error, (InvalidPluginError, pluggy.PluginValidationError, ValueError)):
        return said_by(error)
    return f"it raised {_explained(error)}"


def _broken(name: str, source: str, what: str) -> PluginError:
    return PluginError(f"plugin {name!r} ({source}) is skipped: {what}; {remedy(name)}", name)


def _explained(error: BaseException) -> str:
    text = said_of(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"{text}; install what provides {error.name.partition('.')[0]!r}"
    return text


def _cause(error: PluginError) -> BaseException | None:
    """The traceback worth logging: that of the plugin's own code."""
    return None if isinstance(error.__cause__, InvalidPluginError) else error.__cause__


def _source(entry_point: EntryPoint) -> str:
    distribution = entry_point.dist
    try:
        return f"{distribution.name} {distribution.version}" if distribution else entry_point.value
    except Exception:
        # Of a distribution that was removed halfway.
        return entry_point.value


def names_in(variable: str) -> list[str]:
    """The names of plugins in an environment variable."""
    return [name for part in os.environ.get(variable, "").split(",") if (name := part.strip())]
