"""Imports that a rewrite left without a use."""

from __future__ import annotations

import ast
import warnings
from typing import Any

import libcst as cst

#: What acts when it is imported: Twisted's default reactor is installed.
_ACTING = {"reactor"}


def without_idle_imports(module: cst.Module, before: bytes) -> cst.Module:
    """Take ``from x import name`` away where only what was rewritten used the name.

    What the file exports by ``__all__``, and what a comment is about, stays.
    """
    idle = _loaded(before) - _loaded(module.bytes) - _ACTING
    if not idle:
        return module
    body: list[Any] = []
    for statement in module.body:
        kept: Any = statement
        if isinstance(statement, cst.SimpleStatementLine) and len(statement.body) == 1:
            kept = _shortened(statement, idle)
        if kept is not None:
            body.append(kept)
        elif statement.leading_lines and not body:
            return module  # the head of a file, such as its licence
    return module.with_changes(body=body)


def _shortened(
    statement: cst.SimpleStatementLine, idle: set[str]
) -> cst.SimpleStatementLine | None:
    small = statement.body[0]
    if not isinstance(small, cst.ImportFrom) or isinstance(small.names, cst.ImportStar):
        return statement
    if any(isinstance(part, cst.Comment) for part in _parts(statement)):
        return statement
    kept = [alias for alias in small.names if _bound(alias) not in idle]
    if len(kept) == len(small.names):
        return statement
    if not kept:
        return None
    if small.names[-1] is not kept[-1]:
        # The comma and the line break behind the last name, if there are any, stay.
        kept[-1] = kept[-1].with_changes(comma=small.names[-1].comma)
    return statement.with_changes(body=[small.with_changes(names=kept)])


def _bound(alias: cst.ImportAlias) -> str:
    return alias.evaluated_alias or alias.evaluated_name


def _parts(node: cst.CSTNode) -> list[cst.CSTNode]:
    found = [node]
    for part in found:
        found.extend(part.children)
    return found


def _loaded(data: bytes) -> set[str]:
    """The names that a program reads, and those that it mentions as texts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(data)
        except (SyntaxError, ValueError):
            return set()
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return names
