"""The calls with which a program listens, in whatever framework."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from dsadapter.migration.listeners import asyncio, stdlib, twisted
from dsadapter.migration.listeners.listener import Listener
from dsadapter.migration.module import Module

__all__ = ["Listener", "listeners_of"]

_CACHE = "_listeners"


def listeners_of(module: Module) -> list[Listener]:
    """Every listener that a module opens, in the order of the source."""
    found: list[Listener] | None = module.notes.get(_CACHE)
    if found is None:
        calls = module.all(ast.Call)
        found = [listener for call in calls for listener in _recognize(module, call)]
        for listener in found:
            listener.proven = (
                listener.proven
                and module.unambiguous(listener.call.func)
                and not any(
                    module.bindings(scope).get(name)
                    for name in listener.names & {"int", "str"}
                    for scope in (module.tree, module.function(listener.call))
                )
            )
        found.sort(key=lambda listener: (listener.call.lineno, listener.call.col_offset))
        module.notes[_CACHE] = found
    return found


def _recognize(module: Module, call: ast.Call) -> Iterable[Listener]:
    for recognize in (twisted.recognize, asyncio.recognize, stdlib.recognize):
        listener = recognize(module, call)
        if listener is not None:
            yield listener
            return
