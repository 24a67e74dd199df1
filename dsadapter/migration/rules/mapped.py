"""P10 to P12: addresses unmapped, compared and mapped by hand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv6Address

from dsadapter.migration.findings import Certainty, Finding
from dsadapter.migration.module import Module
from dsadapter.migration.patterns import PATTERNS
from dsadapter.migration.rules.policy import decides
from dsadapter.migration.rules.rule import Rule

_UNMAP = "dsadapter.addressing.unmap"
_OTHERS = {"is_ipv4_mapped", "v46map"}
_GUARDS = ("version", "isinstance", "hasattr", "getattr", "IPv4Address")


def check(module: Module) -> Iterator[Finding]:
    """Find ``ipv4_mapped`` and its like, mapped literals, and what makes mapped addresses."""
    reported: set[ast.AST] = set()
    for attribute in sorted(module.all(ast.Attribute), key=lambda node: node.lineno):
        finding = _unmapping(module, attribute, reported)
        if finding is not None:
            yield finding
    for compare in module.all(ast.Compare):
        for literal in _literals(compare):
            yield _dead(module, compare, literal)
    for call in module.all(ast.Call):
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("startswith", "match"):
            for argument in call.args:
                if isinstance(argument, ast.Constant) and _mapped_start(argument.value):
                    yield _dead(module, call, argument)
    yield from _producers(module)


def _unmapping(module: Module, attribute: ast.Attribute, reported: set[ast.AST]) -> Finding | None:
    if attribute.attr in _OTHERS:
        certainty = Certainty.POSSIBLE
        message = f"{attribute.attr} unmaps by hand"
        return Finding("P10", certainty, module.span(attribute), message, f"{_UNMAP}(text)")
    if attribute.attr != "ipv4_mapped" or not isinstance(attribute.ctx, ast.Load):
        return None
    scope = module.function(attribute)
    if attribute in reported or (scope is not module.tree and scope in reported):
        return None
    if _defines(module, attribute):
        return None
    # One finding a function: its uses stand and fall together.
    reported.add(scope if scope is not module.tree else attribute)
    span = module.span(attribute)
    made = _constructor(module, attribute.value)
    if made and not _guarded(module, attribute):
        message = f"{made}(...).ipv4_mapped raises for an IPv4 address"
        if made == "IPv6Address":
            message = "IPv6Address(...) raises for an IPv4 address"
        return Finding("P10x", Certainty.LIKELY, span, message, f"{_UNMAP}(text)")
    policy = decides(module, attribute)
    message = "ipv4_mapped unmaps by hand" + (
        "; it decides whom to serve: keep it" if policy else ""
    )
    certainty = Certainty.POSSIBLE if policy else Certainty.LIKELY
    return Finding("P10", certainty, span, message, PATTERNS["P10"].remedy)


def _defines(module: Module, attribute: ast.Attribute) -> bool:
    """Whether this is an implementation of ipv4_mapped, as in a copy of ipaddress."""
    return any(function.name == "ipv4_mapped" for function in module.all(ast.FunctionDef)) or (
        isinstance(attribute.value, ast.Name) and attribute.value.id == "self"
    )


def _constructor(module: Module, node: ast.expr) -> str:
    """Which class the address was made with, where it comes from a text."""
    if isinstance(node, ast.Name):
        scope = module.function(node)
        values = [b for b in module.bindings(scope).get(node.id, ()) if isinstance(b, ast.expr)]
        made = {_constructor(module, value) for value in values if isinstance(value, ast.Call)}
        return next(iter(made)) if len(made) == 1 else ""
    if isinstance(node, ast.Call):
        name = module.qualified(node.func).rpartition(".")[2]
        if name in ("ip_address", "IPv6Address") and node.args:
            return "" if isinstance(node.args[0], ast.Constant) else name
    return ""


def _guarded(module: Module, node: ast.AST) -> bool:
    """Whether the function looks at the version first, or handles the exception."""
    scope = module.function(node)
    if scope is module.tree:
        scope_nodes: list[ast.AST] = list(module.ancestors(node))[:-1]
    else:
        scope_nodes = list(ast.walk(scope))
    for part in scope_nodes:
        if isinstance(part, ast.Attribute) and part.attr == "version":
            return True
        if isinstance(part, ast.Name) and part.id in _GUARDS:
            return True
        if isinstance(part, ast.Compare) and _asks_for_colon(module, part):
            return True
    for part in module.ancestors(node):
        if isinstance(part, ast.Try) and any(_handles(module, h) for h in part.handlers):
            return True
        if part is scope:
            break
    return False


def _asks_for_colon(module: Module, compare: ast.Compare) -> bool:
    return isinstance(compare.ops[0], ast.In) and module.constant(compare.left) == ":"


def _handles(module: Module, handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    nodes = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = {module.qualified(node).rpartition(".")[2] for node in nodes}
    return bool(names & {"AttributeError", "Exception", "BaseException", "AddressValueError"})


def _literals(compare: ast.Compare) -> Iterator[ast.Constant]:
    for node in [compare.left, *compare.comparators]:
        elements = node.elts if isinstance(node, ast.List | ast.Tuple | ast.Set) else [node]
        for element in elements:
            if isinstance(element, ast.Constant) and is_mapped_text(element.value):
                yield element


def is_mapped_text(value: object) -> bool:
    """Whether a value is the text of one mapped address."""
    if not isinstance(value, str) or "ffff" not in value.lower():
        return False
    try:
        return IPv6Address(value).ipv4_mapped is not None
    except AddressValueError:
        return False


def _mapped_start(value: object) -> bool:
    return (
        isinstance(value, str)
        and value.lower().startswith("::ffff:")
        and value[len("::ffff:") :].rstrip(".").replace(".", "").isdigit()
    )


def _dead(module: Module, node: ast.expr, literal: ast.Constant) -> Finding:
    plain = str(literal.value)[len("::ffff:") :]
    message = f"{literal.value!r} never matches once peers are IPv4"
    return Finding("P11", Certainty.LIKELY, module.span(node), message, f"compare with {plain!r}")


def _producers(module: Module) -> Iterator[Finding]:
    for joined in module.all(ast.JoinedStr):
        first = joined.values[0] if joined.values else None
        if isinstance(first, ast.Constant) and _is_prefix(first.value) and len(joined.values) > 1:
            yield _producer(module, joined)
    for operation in module.all(ast.BinOp):
        left = operation.left
        if isinstance(operation.op, ast.Add | ast.Mod) and isinstance(left, ast.Constant):
            text = left.value
            if _is_prefix(text) or (isinstance(text, str) and _is_prefix(text.replace("%s", ""))):
                yield _producer(module, operation)
    for call in module.all(ast.Call):
        if (
            isinstance(call.func, ast.Attribute)
            and call.func.attr == "format"
            and isinstance(call.func.value, ast.Constant)
            and isinstance(call.func.value.value, str)
            and _is_prefix(call.func.value.value.partition("{")[0])
        ):
            yield _producer(module, call)


def _is_prefix(value: object) -> bool:
    return isinstance(value, str) and value.lower() in ("::ffff:", "[::ffff:")


def _producer(module: Module, node: ast.expr) -> Finding:
    message = "a mapped address is put together by hand"
    replacement = "the plain address, or dsadapter.addressing.map_ipv4(address)"
    return Finding("P12", Certainty.POSSIBLE, module.span(node), message, replacement)


RULE = Rule((b"ipv4_mapped", b"v46map", b"::ffff:", b"::FFFF:"), check)
