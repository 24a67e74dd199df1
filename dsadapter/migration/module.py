"""One Python file, parsed, with what its names mean."""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from typing import Any, TypeVar

from dsadapter.migration.findings import Span

Node = TypeVar("Node", bound=ast.AST)
Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef | ast.Module
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, ast.Module)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)

#: How a name is bound: an expression, the dotted name of an import, or something else.
Binding = ast.expr | str | None


class Module:
    """A Python file as syntax, indexed.

    :param data: the file's bytes, in whatever encoding it declares.
    :raises SyntaxError: if this Python can't parse it, with ``lineno``.
    :raises ValueError: if it holds null bytes.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.tree = ast.parse(data)
        #: What rules worked out about this module, to be shared.
        self.notes: dict[str, Any] = {}
        self.parents: dict[ast.AST, ast.AST] = {}
        self._nodes: dict[type[ast.AST], list[ast.AST]] = defaultdict(list)
        waiting: list[ast.AST] = [self.tree]
        for node in waiting:
            self._nodes[type(node)].append(node)
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
                waiting.append(child)

    def all(self, kind: type[Node]) -> list[Node]:
        """All nodes of one exact type, outer ones first."""
        return self._nodes.get(kind, [])  # type: ignore[return-value]

    @cached_property
    def _lines(self) -> list[bytes]:
        # As ast counts them: a form feed ends no line.
        text = self.text.replace("\r\n", "\n").replace("\r", "\n")
        return [line.encode("utf-8") for line in text.split("\n")]

    @cached_property
    def text(self) -> str:
        """The decoded source, without a byte order mark."""
        encoding, _ = tokenize.detect_encoding(io.BytesIO(self.data).readline)
        text = self.data.decode(encoding)
        return text.removeprefix("\ufeff")

    def span(self, node: ast.expr | ast.stmt | ast.excepthandler) -> Span:
        """Where a node stands."""
        end_line = node.end_lineno or node.lineno
        end_offset = node.end_col_offset if node.end_col_offset is not None else node.col_offset
        return Span(
            node.lineno,
            self._column(node.lineno, node.col_offset),
            end_line,
            self._column(end_line, end_offset),
        )

    def _column(self, line: int, offset: int) -> int:
        # ast counts bytes of UTF-8, everybody else characters.
        return len(self._lines[line - 1][:offset].decode("utf-8", "replace"))

    def source(self, node: ast.AST) -> str:
        """The text of a node as it stands in the file, or an equal one if it spans lines."""
        if isinstance(node, ast.expr | ast.stmt) and node.lineno == node.end_lineno:
            line = self._lines[node.lineno - 1]
            return line[node.col_offset : node.end_col_offset].decode("utf-8")
        return ast.unparse(node)

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around a node, inner ones first."""
        while (parent := self.parents.get(node)) is not None:
            yield parent
            node = parent

    def statement(self, node: ast.AST) -> ast.stmt:
        """The innermost statement that a node is part of."""
        while not isinstance(node, ast.stmt):
            node = self.parents[node]
        return node

    def block(self, statement: ast.stmt) -> list[ast.stmt]:
        """The list of statements that a statement stands in."""
        parent = self.parents[statement]
        for field in ("body", "orelse", "finalbody"):
            statements = getattr(parent, field, None)
            if isinstance(statements, list) and statement in statements:
                return statements
        return [statement]

    def scope(self, node: ast.AST) -> Scope:
        """The function, class or module that a node is evaluated in."""
        return next((a for a in self.ancestors(node) if isinstance(a, _SCOPES)), self.tree)

    def function(self, node: ast.AST) -> Scope:
        """The function around a node, or the module."""
        return next((a for a in self.ancestors(node) if isinstance(a, _FUNCTIONS)), self.tree)

    def inside(self, scope: ast.AST, kind: type[Node]) -> list[Node]:
        """The nodes of one type below a node, nested functions included."""
        return [node for node in self.all(kind) if scope in self.ancestors(node)]

    def bindings(self, scope: Scope) -> dict[str, list[Binding]]:
        """What each name of a scope is bound to, in the order of the source."""
        return self._bindings[scope]

    @cached_property
    def _bindings(self) -> dict[Scope, dict[str, list[Binding]]]:
        table: dict[Scope, dict[str, list[Binding]]] = defaultdict(lambda: defaultdict(list))
        for name in self.all(ast.Name):
            if not isinstance(name.ctx, ast.Load):
                parent = self.parents[name]
                value: Binding = None
                if (isinstance(parent, ast.Assign) and name in parent.targets) or isinstance(
                    parent, ast.AnnAssign
                ):
                    value = parent.value
                table[self.scope(name)][name.id].append(value)
        for argument in self.all(ast.arg):
            table[self.scope(argument)][argument.arg].append(None)
        for kind in (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef):
            for definition in self.all(kind):
                table[self.scope(definition)][definition.name].append(None)  # type: ignore[attr-defined]
        for handler in self.all(ast.ExceptHandler):
            if handler.name:
                table[self.scope(handler)][handler.name].append(None)
        captures: list[ast.MatchAs | ast.MatchStar] = [*self.all(ast.MatchAs)]
        for pattern in [*captures, *self.all(ast.MatchStar)]:
            if pattern.name:
                table[self.scope(pattern)][pattern.name].append(None)
        for mapping in self.all(ast.MatchMapping):
            if mapping.rest:
                table[self.scope(mapping)][mapping.rest].append(None)
        shares: list[ast.Global | ast.Nonlocal] = [*self.all(ast.Global)]
        for declared in [*shares, *self.all(ast.Nonlocal)]:
            # Any scope around may see what is assigned here.
            for around in self.ancestors(declared):
                if isinstance(around, _SCOPES):
                    for shared in declared.names:
                        table[around][shared].append(None)
        for importing in self.all(ast.Import):
            for alias in importing.names:
                bound = alias.asname or alias.name.partition(".")[0]
                table[self.scope(importing)][bound].append(alias.name if alias.asname else bound)
        for imported in self.all(ast.ImportFrom):
            for alias in imported.names:
                origin = f"{'.' * imported.level}{imported.module or ''}.{alias.name}"
                table[self.scope(imported)][alias.asname or alias.name].append(origin)
                if alias.name == "*":
                    # What it brings is not known: it may bind any name anew.
                    for bindings in table[self.tree].values():
                        bindings.append(None)
        return table

    def bound(self, name: ast.Name) -> list[Binding]:
        """What a name is bound to in the nearest scope that binds it; nothing for a builtin."""
        scope: Scope | None = self.scope(name)
        first = True
        while scope is not None:
            if (first or not isinstance(scope, ast.ClassDef)) and name.id in self._bindings[scope]:
                return self._bindings[scope][name.id]
            first = False
            scope = None if isinstance(scope, ast.Module) else self.scope(scope)
        return []

    def qualified(self, node: ast.AST) -> str:
        """The dotted name that an expression stands for, imports followed; else an empty text."""
        if isinstance(node, ast.Attribute):
            base = self.qualified(node.value)
            return f"{base}.{node.attr}" if base else ""
        if isinstance(node, ast.Name):
            bound = self.bound(node)
            origins = [origin for origin in bound if isinstance(origin, str)]
            # try: import a / except ImportError: import b binds twice; the first is meant.
            return origins[0] if origins and len(origins) == len(bound) else node.id
        return ""

    def mentioned(self, name: str) -> bool:
        """Whether a text of the program is a name: in ``__all__``, for ``getattr``."""
        return any(constant.value == name for constant in self.all(ast.Constant))

    def unambiguous(self, node: ast.expr) -> bool:
        """Whether a dotted name can stand for one import alone, with no attribute assigned."""
        while isinstance(node, ast.Attribute):
            name = node.attr
            if any(
                other.attr == name and not isinstance(other.ctx, ast.Load)
                for other in self.all(ast.Attribute)
            ):
                return False
            node = node.value
        return not isinstance(node, ast.Name) or len({*self.bound(node)}) < 2

    def resolve(self, node: ast.expr) -> ast.expr:
        """What a name stands for, if it is bound once, to an expression; else the node itself."""
        for _ in range(5):
            if not isinstance(node, ast.Name):
                break
            bound = self.bound(node)
            if len(bound) != 1 or not isinstance(bound[0], ast.expr):
                break
            node = bound[0]
        return node

    def constant(self, node: ast.expr | None) -> object:
        """The literal that an expression stands for; ``...`` if it is none."""
        if node is None:
            return ...
        resolved = self.resolve(node)
        return resolved.value if isinstance(resolved, ast.Constant) else ...

    def loads(self, name: str, scope: Scope) -> list[ast.Name]:
        """Where a name is read, in a scope and what it encloses."""
        return [
            node
            for node in self.all(ast.Name)
            if node.id == name
            and isinstance(node.ctx, ast.Load)
            and (scope is self.tree or scope in self.ancestors(node))
        ]
