"""P8 and P9: the prefix of a mapped address, cut off its text."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dsadapter.migration.findings import (
    Certainty,
    Edit,
    Finding,
    ReplaceExpression,
    ReplaceStatement,
)
from dsadapter.migration.module import Module
from dsadapter.migration.patterns import PATTERNS
from dsadapter.migration.peers import is_cut_from_text, peer_source
from dsadapter.migration.rules.policy import decides
from dsadapter.migration.rules.rule import Rule

PREFIX = "::ffff:"
_UNMAP = "delete it; for addresses from elsewhere: dsadapter.addressing.unmap"
_CUTS = {"removeprefix", "replace", "split", "rsplit", "partition", "rpartition", "lstrip", "strip"}
_SPLITS = {"split", "rsplit", "partition", "rpartition"}
_NOTES = "strips"


def check(module: Module) -> Iterator[Finding]:
    """Find every way to strip the prefix, once a place."""
    done: set[ast.AST] = set()
    for kind in (ast.If, ast.IfExp):
        for node in module.all(kind):
            finding = _guarded(module, node, done)  # type: ignore[arg-type]
            if finding is not None:
                yield finding
    for call in module.all(ast.Call):
        if call not in done:
            finding = _cut(module, call, done) or _pattern(module, call)
            if finding is not None:
                yield finding


def _guarded(module: Module, node: ast.If | ast.IfExp, done: set[ast.AST]) -> Finding | None:
    """``if x.startswith("::ffff:"): x = x[7:]``, as a statement or an expression."""
    test = node.test
    subject = _starts(module, test)
    colon = None if subject is not None else _holds_colon(module, test)
    if subject is None and colon is None:
        return None
    address = subject if subject is not None else colon
    assert address is not None
    name = ast.unparse(address)
    body = node.body if isinstance(node, ast.IfExp) else _assigned(node, name)
    if body is None or not _cuts(module, body, name):
        return None
    if colon is not None and not peer_source(module, colon):
        return None
    done.update(ast.walk(node))
    message = f"the prefix {PREFIX} is cut off {name}"
    edits: tuple[Edit, ...] = ()
    if colon is not None:
        message = f"what is before the last colon is cut off {name}, of a real IPv6 address too"
    elif isinstance(node, ast.If):
        if not node.orelse and len(node.body) == 1 and not _is_elif(module, node):
            edits = (ReplaceStatement(module.span(node)),)
    elif ast.unparse(node.orelse) == name:
        edits = (ReplaceExpression(module.span(node), module.source(address)),)
    return _finding(module, "P8", node, address, message, edits)


def _is_elif(module: Module, node: ast.If) -> bool:
    parent = module.parents[node]
    return isinstance(parent, ast.If) and node in parent.orelse


def _starts(module: Module, test: ast.expr) -> ast.expr | None:
    """The address in ``address.startswith("::ffff:")``, or ``"::ffff:" in address``."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return next((s for v in test.values if (s := _starts(module, v)) is not None), None)
    if isinstance(test, ast.Call) and isinstance(test.func, ast.Attribute):
        if test.func.attr == "startswith" and test.args and _is_prefix(module, test.args[0]):
            base = test.func.value
            if isinstance(base, ast.Call) and isinstance(base.func, ast.Attribute):
                # address.lower().startswith(...)
                return base.func.value if base.func.attr in ("lower", "casefold") else base
            return base
        return None
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        right = test.comparators[0]
        if isinstance(test.ops[0], ast.In) and _is_prefix(module, test.left):
            return right
        if isinstance(test.ops[0], ast.Eq) and _is_prefix(module, right):
            return test.left.value if isinstance(test.left, ast.Subscript) else None
    return None


def _holds_colon(module: Module, test: ast.expr) -> ast.expr | None:
    if (
        isinstance(test, ast.Compare)
        and isinstance(test.ops[0], ast.In)
        and module.constant(test.left) == ":"
    ):
        return test.comparators[0]
    return None


def _assigned(node: ast.If, name: str) -> ast.expr | None:
    """What the guarded body makes of the address: assigned, or returned."""
    for statement in node.body:
        if isinstance(statement, ast.Assign) and name in ast.unparse(statement.value):
            return statement.value
        if isinstance(statement, ast.Return) and statement.value is not None:
            return statement.value
    return None


def _cuts(module: Module, node: ast.expr, name: str) -> bool:
    """Whether an expression is the tail of an address: a slice, a split, a replacement."""
    for part in ast.walk(node):
        if (
            isinstance(part, ast.Subscript)
            and ast.unparse(part.value) == name
            and isinstance(part.slice, ast.Slice)
            and part.slice.lower is not None
        ):
            return True
        if (
            isinstance(part, ast.Call)
            and isinstance(part.func, ast.Attribute)
            and part.func.attr in _CUTS
            and ast.unparse(part.func.value) == name
            and part.args
        ):
            separator = module.constant(part.args[0])
            return separator == ":" or _is_prefix(module, part.args[0])
    return False


def _cut(module: Module, call: ast.Call, done: set[ast.AST]) -> Finding | None:
    """``x.replace("::ffff:", "")`` and its like, without a guard."""
    if not (isinstance(call.func, ast.Attribute) and call.args):
        return None
    method, address = call.func.attr, call.func.value
    if method not in _CUTS or not _is_prefix(module, call.args[0]):
        return None
    name = ast.unparse(address)
    if method in ("lstrip", "strip"):
        message = (
            f"{method} takes a set of characters: it eats the front of real IPv6 addresses too"
        )
        return _finding(module, "P8", call, address, message, ())
    message = f"the prefix {PREFIX} is cut off {name}"
    edits: tuple[Edit, ...] = ()
    if method == "removeprefix" or (
        method == "replace" and len(call.args) >= 2 and module.constant(call.args[1]) == ""
    ):
        edits = (ReplaceExpression(module.span(call), module.source(address)),)
    elif method in _SPLITS and not isinstance(module.parents[call], ast.Subscript):
        return None
    return _finding(module, "P8", call, address, message, edits)


def _pattern(module: Module, call: ast.Call) -> Finding | None:
    """A regular expression that begins with the prefix."""
    qualified = module.qualified(call.func)
    if not qualified.startswith(("re.", "regex.")) or not call.args:
        return None
    pattern = module.constant(call.args[0])
    if isinstance(pattern, bytes):
        pattern = pattern.decode("latin-1")
    if not isinstance(pattern, str):
        return None
    text = pattern.lower().lstrip("^(?:p<>i)")
    if not pattern.lower().lstrip("^(?:)").startswith(("ffff:", "::ffff:")) and not text.startswith(
        "ffff:"
    ):
        return None
    certainty = Certainty.POSSIBLE if decides(module, call) else Certainty.LIKELY
    message = f"a regular expression takes the prefix {PREFIX} off"
    return Finding("P9", certainty, module.span(call), message, PATTERNS["P9"].remedy)


def _is_prefix(module: Module, node: ast.expr) -> bool:
    value = module.constant(node)
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return isinstance(value, str) and value.lower() in (PREFIX, "::ffff", "0:0:0:0:0:ffff:")


def _finding(
    module: Module,
    pattern: str,
    node: ast.If | ast.IfExp | ast.Call,
    address: ast.expr,
    message: str,
    edits: tuple[Edit, ...],
) -> Finding:
    source = peer_source(module, address)
    if not source and (decides(module, node) or is_cut_from_text(module, address)):
        certainty = Certainty.POSSIBLE
    else:
        certainty = Certainty.LIKELY if source or pattern == "P8" else Certainty.POSSIBLE
    if edits and source:
        proofs: dict[Edit, ast.expr] = module.notes.setdefault(_NOTES, {})
        proofs[edits[0]] = address
    span = module.span(node)
    if isinstance(node, ast.If):
        span = module.span(node.test)
    return Finding(pattern, certainty, span, message, _UNMAP, edits if source else ())


def stripped_address(module: Module, finding: Finding) -> ast.expr | None:
    """The address that a finding of this rule strips, if it may be rewritten."""
    proofs: dict[Edit, ast.expr] = module.notes.get(_NOTES, {})
    return proofs.get(finding.edits[0]) if finding.edits else None


RULE = Rule((b"::ffff", b"::FFFF", b"0:0:0:0:0:ffff", b"':' in", b'":" in'), check)
