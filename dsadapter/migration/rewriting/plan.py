"""The changes that make one dual-stack listener out of two."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import NamedTuple

from dsadapter.migration.findings import AddImport, Edit, ReplaceStatement
from dsadapter.migration.listeners import Listener
from dsadapter.migration.module import Module, Scope


class Plan(NamedTuple):
    """How a listener is rewritten.

    :param replacement: the new code in one line, for people.
    :param edits: the changes; none if they are only to be shown.
    :param adapter: the module of dsadapter that the changed program needs.
    """

    replacement: str
    edits: tuple[Edit, ...] = ()
    adapter: str = ""


def removal(module: Module, listener: Listener) -> list[Edit]:
    """Delete the statements of a listener that another one replaces."""
    return [ReplaceStatement(module.span(statement)) for statement in listener.statements]


def importing(module: Module, origin: str, name: str) -> list[Edit] | None:
    """Import a name from a module; None if the program uses the name for something else."""
    bound = [binding for scope in _tables(module) for binding in scope.get(name, ())]
    if any(binding != f"{origin}.{name}" for binding in bound):
        return None
    return [AddImport(origin, name)]


def _tables(module: Module) -> Iterable[dict[str, list[ast.expr | str | None]]]:
    scopes: list[Scope] = [
        module.tree,
        *module.all(ast.FunctionDef),
        *module.all(ast.AsyncFunctionDef),
        *module.all(ast.Lambda),
        *module.all(ast.ClassDef),
    ]
    return [module.bindings(scope) for scope in scopes]
