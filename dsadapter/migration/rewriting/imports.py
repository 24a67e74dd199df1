"""Imports that a rewrite needs, and those that it left without a use."""

from __future__ import annotations

import ast
import warnings
from typing import Any

import libcst as cst
from libcst.helpers import get_full_name_for_node

from dsadapter.migration.findings import AddImport

#: What acts when it is imported: Twisted's default reactor is installed.
_ACTING = {"reactor"}


def with_import(module: cst.Module, wanted: AddImport, head: int) -> cst.Module:
    """Add an import behind the others at the head of the file.

    :param head: how many statements stand before the first one that needs it.
    """
    code = f"import {wanted.module}"
    if wanted.name:
        code = f"from {wanted.module} import {wanted.name}"
    new = cst.parse_statement(code, config=module.config_for_parsing)
    if any(_imports(small, wanted) for s in module.body[:head] for small in _parts_of_line(s)):
        return module
    place = 0
    for number, statement in enumerate(module.body[:head]):
        if isinstance(statement, cst.FunctionDef | cst.ClassDef):
            break
        if isinstance(statement, cst.SimpleStatementLine) and (
            all(isinstance(small, cst.Import | cst.ImportFrom) for small in statement.body)
            or (number == 0 and _is_docstring(statement))
        ):
            place = number + 1
    body = list(module.body)
    if place == 0 and body:
        # What stands above the first statement, such as a license, stays at the top.
        lines = list(body[0].leading_lines)
        body[0] = body[0].with_changes(leading_lines=[cst.EmptyLine(indent=False)])
        new = new.with_changes(leading_lines=lines)
    body.insert(place, new)
    return module.with_changes(body=body)


def _parts_of_line(statement: Any) -> list[Any]:
    return list(statement.body) if isinstance(statement, cst.SimpleStatementLine) else []


def _imports(small: Any, wanted: AddImport) -> bool:
    """Whether a statement binds what is wanted, under its own name."""
    if (
        wanted.name
        and isinstance(small, cst.ImportFrom)
        and not isinstance(small.names, cst.ImportStar)
    ):
        origin = get_full_name_for_node(small.module) if small.module else ""
        return (
            not small.relative
            and origin == wanted.module
            and any(a.evaluated_name == _bound(a) == wanted.name for a in small.names)
        )
    return (
        not wanted.name
        and isinstance(small, cst.Import)
        and any(a.evaluated_name == _bound(a) == wanted.module for a in small.names)
    )


def _is_docstring(statement: cst.SimpleStatementLine) -> bool:
    small = statement.body[0]
    return isinstance(small, cst.Expr) and isinstance(
        small.value, cst.SimpleString | cst.ConcatenatedString
    )


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
            return module  # the head of a file, such as its license
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
