"""Carrying changes out on a concrete syntax tree, with comments and formatting kept."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider

from dsadapter.migration.findings import (
    AddBase,
    AddImport,
    Edit,
    ReplaceExpression,
    ReplaceStatement,
    Span,
)
from dsadapter.migration.rewriting.imports import with_import, without_idle_imports


class CannotRewriteError(Exception):
    """A file that can't be changed without risking something else in it."""


def rewritten(data: bytes, edits: Iterable[Edit]) -> bytes:
    """The bytes of a Python file with all changes made.

    The result compiles, and differs from ``data`` only where a change asks for it: encoding, byte
    order mark, line ends and form feeds stay.

    :raises CannotRewriteError: if that is not possible, with the reason.
    """
    wanted = list(edits)
    try:
        module = cst.parse_module(data)
    except (cst.ParserSyntaxError, UnicodeDecodeError) as error:
        raise CannotRewriteError(f"LibCST can't parse it: {error}") from error
    if module.bytes != data:
        raise CannotRewriteError("its line ends are of a kind that LibCST would change")
    wrapper = MetadataWrapper(module, unsafe_skip_copy=True)
    positions = wrapper.resolve(PositionProvider)
    transformer = _Transformer(positions, wanted, module)
    # What stands before the first change has run when the change does.
    first = min((e.span.line for e in wanted if not isinstance(e, AddImport)), default=0)
    head = sum(positions[statement].end.line < first for statement in wrapper.module.body)
    changed = wrapper.module.visit(transformer)
    if transformer.pending:
        raise CannotRewriteError(f"the place of {len(transformer.pending)} changes is not found")
    for edit in wanted:
        if isinstance(edit, AddImport):
            changed = with_import(changed, edit, head)
    changed = without_idle_imports(changed, data)
    result = changed.bytes
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(result, "<rewritten>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise CannotRewriteError(f"the result does not compile: {error}") from error
    return result


class _Transformer(cst.CSTTransformer):
    """Replaces expressions and statements by their place, and keeps every comment."""

    def __init__(self, positions: Any, edits: Sequence[Edit], module: cst.Module) -> None:
        super().__init__()
        self._positions = positions
        self._config = module.config_for_parsing
        self._expressions = {e.span: e for e in edits if isinstance(e, ReplaceExpression)}
        # Two findings may want the same statement gone.
        self._statements = {e.span: e for e in edits if isinstance(e, ReplaceStatement)}
        self._bases = {(e.span.line, e.span.column): e for e in edits if isinstance(e, AddBase)}
        self.pending: set[Edit] = {
            *self._expressions.values(),
            *self._statements.values(),
            *self._bases.values(),
        }

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        updated: Any = super().on_leave(original_node, updated_node)
        if isinstance(original_node, cst.BaseExpression):
            edit = self._expressions.get(self._span(original_node))
            if edit is not None and edit in self.pending:
                self.pending.discard(edit)
                return self._expression(original_node, edit.code)
            return updated
        if isinstance(original_node, cst.ClassDef):
            return self._class(original_node, updated)
        if isinstance(original_node, cst.IndentedBlock | cst.Module):
            return self._block(original_node, updated)
        if isinstance(original_node, cst.SimpleStatementSuite):
            small = self._small(original_node, updated)
            return updated if small is None else updated.with_changes(body=small or [cst.Pass()])
        return updated

    def _expression(self, original: cst.BaseExpression, code: str) -> cst.BaseExpression:
        expression = cst.parse_expression(code, config=self._config)
        if getattr(original, "lpar", ()) and not isinstance(original, cst.Tuple):
            return expression.with_changes(lpar=original.lpar, rpar=original.rpar)
        return expression

    def _class(self, original: cst.ClassDef, updated: Any) -> Any:
        span = self._span(original)
        edit = self._bases.get((span.line, span.column))
        if edit is None:
            return updated
        self.pending.discard(edit)
        return updated.with_changes(bases=[cst.Arg(cst.Name(edit.name)), *updated.bases])

    def _span(self, node: cst.CSTNode) -> Span:
        place: CodeRange = self._positions[node]
        start, end = place.start, place.end
        if isinstance(node, cst.Tuple) and node.lpar:
            # To ast the parentheses are the tuple's own.
            start = self._positions[node.lpar[-1]].start
            end = self._positions[node.rpar[0]].end
        return Span(start.line, start.column, end.line, end.column)

    def _edit_of(self, node: cst.CSTNode) -> ReplaceStatement | None:
        span = self._span(node)
        edit = self._statements.get(span)
        if edit is None:
            # Compound statements end where their last line does; the start is enough.
            edit = next(
                (
                    e
                    for s, e in self._statements.items()
                    if (s.line, s.column) == (span.line, span.column)
                    and isinstance(node, cst.BaseCompoundStatement)
                ),
                None,
            )
        if edit is not None:
            self.pending.discard(edit)
        return edit

    def _block(self, original: Any, updated: Any) -> Any:
        body: list[Any] = []
        carried: list[cst.EmptyLine] = []
        blank: list[cst.EmptyLine] = []
        for before, after in zip(original.body, updated.body, strict=True):
            kept = self._statement(before, after)
            lost = _comments(before) - sum((_comments(node) for node in kept), Counter())
            carried += [
                cst.EmptyLine(comment=cst.Comment(text))
                for text in _ordered(before)
                if lost[text] and not lost.subtract([text])
            ]
            if kept:
                own = list(kept[0].leading_lines)
                # What separated a statement that is gone still separates its neighbors.
                own = own if any(line.comment is None for line in own) else [*blank, *own]
                kept[0] = kept[0].with_changes(leading_lines=_merged(own, carried))
                carried, blank = [], []
            elif body:
                blank = blank or [line for line in before.leading_lines if line.comment is None]
            body += kept
        if not body and isinstance(original, cst.IndentedBlock) and original.body:
            body = [cst.SimpleStatementLine([cst.Pass()], leading_lines=carried)]
            carried = []
        changes: dict[str, Any] = {"body": body}
        if carried:
            changes["footer"] = [*carried, *updated.footer]
        return updated.with_changes(**changes)

    def _statement(self, before: Any, after: Any) -> list[Any]:
        if not isinstance(before, cst.SimpleStatementLine):
            edit = self._edit_of(before)
            if edit is None:
                return [after]
            if not edit.code:
                return []
            line = self._parsed(edit.code)
            return [line.with_changes(leading_lines=before.leading_lines)]
        small = self._small(before, after)
        if small is None:
            return [after]
        return [after.with_changes(body=small)] if small else []

    def _small(self, before: Any, after: Any) -> list[Any] | None:
        """The statements of one line with changes made; None if there are none."""
        small: list[Any] = []
        changed = False
        for old, new in zip(before.body, after.body, strict=True):
            edit = self._edit_of(old)
            if edit is None:
                small.append(new)
                continue
            changed = True
            if edit.code:
                small += self._parsed(edit.code).body
        if not changed:
            return None
        if small:
            small[-1] = small[-1].with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
        return small

    def _parsed(self, code: str) -> cst.SimpleStatementLine:
        statement = cst.parse_statement(code, config=self._config)
        if not isinstance(statement, cst.SimpleStatementLine):
            raise CannotRewriteError("a compound statement can't be put in")
        return statement


def _merged(own: list[cst.EmptyLine], carried: list[cst.EmptyLine]) -> list[cst.EmptyLine]:
    """Comments of what is gone, behind the blank lines and before the comments of what follows."""
    place = next((n for n, line in enumerate(own) if line.comment is not None), len(own))
    return [*own[:place], *carried, *own[place:]]


def _comments(node: cst.CSTNode) -> Counter[str]:
    return Counter(_ordered(node))


def _ordered(node: cst.CSTNode) -> list[str]:
    found: list[str] = []
    waiting: list[cst.CSTNode] = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, cst.Comment):
            found.append(part.value)
        waiting.extend(reversed(part.children))
    return found
