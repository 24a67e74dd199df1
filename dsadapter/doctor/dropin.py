"""Whether Twisted finds the endpoint strings, and what hides them: it swallows every error."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any

from dsadapter.command_lines import command_line, pip
from dsadapter.doctor.findings import Check, Finding, Question
from dsadapter.messages import said_of

_MODULE = "dsadapter_endpoints"
_PACKAGE = "twisted.plugins"
_CACHE = "dropin.cache"
#: The objects of the drop-in, whose names never change, and the strings that they parse.
NAMES = {
    "dualstackServer": "dualstack:",
    "dualstackClient": "dualstack:HOST:",
    "canonicalServer": "canonical:",
}


def _dropin(question: Question) -> Finding:
    import twisted.plugins

    files = [os.path.join(folder, f"{_MODULE}.py") for folder in twisted.plugins.__path__]
    there = [file for file in files if os.path.isfile(file)]
    try:
        module = importlib.import_module(f"{_PACKAGE}.{_MODULE}")
    except ModuleNotFoundError as error:
        if error.name == f"{_PACKAGE}.{_MODULE}" and not there:
            return _missing(files)
        return _broken(error, there)
    except Exception as error:
        return _broken(error, there)
    lost = [name for name in NAMES if not hasattr(module, name)]
    if lost:
        fact = f"{module.__file__} has no {', '.join(lost)}: it is not of this version"
        return Finding("problem", fact, _again())
    return _as_twisted_sees(str(module.__file__))


def _missing(files: list[str]) -> Finding:
    return Finding(
        "problem",
        f"it is not installed: Twisted knows no 'dualstack:', {_MODULE}.py is in none of its "
        f"plugin folders",
        _again(),
        detail="\n".join(files),
    )


def _broken(error: BaseException, files: list[str]) -> Finding:
    return Finding(
        "problem",
        f"it can't be imported, which Twisted tells nobody: {said_of(error)}",
        _again(),
        detail="\n".join([*files, *traceback.format_exception_only(error)]),
    )


def _again() -> str:
    return pip(sys.executable, "install", "--force-reinstall", "--no-deps", "dsadapter")


def _as_twisted_sees(file: str) -> Finding:
    """What Twisted's own look at its plugins finds; the cache stays as it is."""
    import twisted.plugins
    from twisted.internet.interfaces import (
        IStreamClientEndpointStringParserWithReactor,
        IStreamServerEndpointStringParser,
    )
    from twisted.plugin import getPlugins
    from twisted.python.filepath import FilePath

    # In a process of the check's own: a doctor changes nothing.
    untouched: Any = FilePath
    untouched.setContent = lambda *args, **kwargs: None
    interfaces: list[Any] = [
        IStreamServerEndpointStringParser,
        IStreamClientEndpointStringParserWithReactor,
    ]
    cache = os.path.join(os.path.dirname(file), _CACHE)
    try:
        found = {
            plugin.prefix
            for interface in interfaces
            for plugin in getPlugins(interface)
            if type(plugin).__module__.startswith("dsadapter.")
        }
    except Exception as error:
        caches = [os.path.join(folder, _CACHE) for folder in twisted.plugins.__path__]
        there = [command_line("remove", file=each) for each in caches if os.path.exists(each)]
        fact = f"Twisted can't read what it remembers of its plugins: {said_of(error)}"
        return Finding("problem", fact, "\n".join(there) if there else _again())
    cached = _cached_names(cache)
    hidden = [shown for name, shown in NAMES.items() if cached is not None and name not in cached]
    if hidden and _is_believed(cache, file):
        return Finding(
            "problem",
            f"{cache} is stale: it hides {', '.join(hidden)} of {file}",
            command_line("remove", file=cache),
        )
    if found != {"dualstack", "canonical"}:
        return Finding(
            "problem",
            f"it can be imported, and Twisted does not find it: another {_MODULE} may come first "
            f"in {_PACKAGE}",
            _again(),
            detail="\n".join(twisted.plugins.__path__),
        )
    return Finding("ok", "Twisted knows 'dualstack:' and 'canonical:'", "", detail=file)


def _cached_names(cache: str) -> set[str] | None:
    """The objects of the drop-in that a cache knows; None where it knows no drop-in."""
    import pickle

    try:
        with open(cache, "rb") as stream:
            # Twisted itself unpickles it at every start.
            module = pickle.load(stream).get(_MODULE)
        return None if module is None else {plugin.name for plugin in module.plugins}
    except Exception:
        # Twisted makes a new one then.
        return None


def _is_believed(cache: str, file: str) -> bool:
    """Whether Twisted takes a cache's word: it is newer than the module."""
    return os.stat(file).st_mtime < os.stat(cache).st_mtime


CHECKS = (Check("drop-in", "Twisted's drop-in", _dropin, 15.0),)
