"""Covering this very process, and taking that back."""

from __future__ import annotations

import sys

from dsadapter.launcher import patching
from dsadapter.launcher.report import use
from dsadapter.launcher.settings import Settings

_watchers: list[object] = []


def install_here(chosen: Settings) -> None:
    """Put in what the table says of modules that are there, and of others when they come."""
    use(chosen)
    if not _watchers and not _is_watched():
        from dsadapter.launcher.hook.sitecustomize import Watcher

        watcher = Watcher({"socket"}, patching.module_ran)
        _watchers.append(watcher)
        sys.meta_path.insert(0, watcher)
        if chosen.guards:
            from dsadapter.launcher.guarding import audit_exec

            sys.addaudithook(audit_exec)
    import socket

    patching.module_ran(socket)


def uninstall() -> None:
    """Take everything out again; listeners stay what they are."""
    patching.undo()
    for watcher in _watchers:
        if watcher in sys.meta_path:
            sys.meta_path.remove(watcher)
    _watchers.clear()


def _is_watched() -> bool:
    return any("socket" in getattr(finder, "wanted", ()) for finder in sys.meta_path)
