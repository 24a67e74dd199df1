"""P3: a bind error that is forgiven because the other family listens."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dsadapter.migration.addresses import Host
from dsadapter.migration.findings import Certainty, Finding
from dsadapter.migration.listeners import listeners_of
from dsadapter.migration.module import Module, Scope
from dsadapter.migration.rules.rule import Rule

_ERRORS = {"CannotListenError", "OSError", "error", "EnvironmentError", "IOError", "Exception"}
_BOTH = "the bind error of one family is forgiven, because the other one listens"
_REMEDY = "delete it together with the second listener"


def check(module: Module) -> Iterator[Finding]:
    """Find handlers around a listener or a bind, and errbacks, that let one family fail."""
    for handler in module.all(ast.ExceptHandler):
        if _forgives(module, handler):
            yield _finding(module, handler, _BOTH)
    for function in module.all(ast.FunctionDef):
        if _swallowing_errback(module, function):
            yield _finding(module, function, f"errback {function.name}: {_BOTH}")


def is_forgiven(module: Module, node: ast.AST) -> bool:
    """Whether something around a node may swallow what it raises, and go on."""
    inner = node
    for around in module.ancestors(node):
        if isinstance(around, ast.Try | ast.TryStar):
            if inner in around.body and any(_goes_on(handler.body) for handler in around.handlers):
                return True
            if inner not in around.finalbody and any(map(_leaves, around.finalbody)):
                return True
        elif isinstance(around, ast.With | ast.AsyncWith) and any(
            _suppresses(module, item.context_expr) for item in around.items
        ):
            return True
        if isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return False
        inner = around
    return False


def _goes_on(body: list[ast.stmt]) -> bool:
    """Whether the program may run on behind a handler, here or in what called."""
    return _passes(body) or any(map(_leaves, body))


def _leaves(statement: ast.stmt) -> bool:
    return any(isinstance(n, ast.Return | ast.Continue | ast.Break) for n in ast.walk(statement))


def _suppresses(module: Module, node: ast.expr) -> bool:
    function = node.func if isinstance(node, ast.Call) else node
    text = f"{ast.unparse(node)} {module.qualified(function)}"
    return "suppress" in text or "raises" in text


def _forgives(module: Module, handler: ast.ExceptHandler) -> bool:
    if not _names_error(module, handler.type):
        return False
    attempt = module.parents[handler]
    binding = _binding(module, attempt)
    if binding is None or not _passes(handler.body) or _tries_again(attempt):
        return False
    if any(_other_listens(node) for node in handler.body):
        return True
    # EADDRINUSE alone is a port that is tried again, or a message: both families have to be there.
    scope = module.function(attempt)
    text = ast.unparse(handler)
    if any(host in text for host in ("'::'", "'0.0.0.0'")):
        return True
    others = [
        listener.host
        for listener in listeners_of(module)
        if scope in module.ancestors(listener.call)
    ]
    if Host.ANY6 in others and Host.ANY4 in others:
        return True
    return binding == "bind" and _both_families(module, scope)


def _binding(module: Module, attempt: ast.AST) -> str | None:
    """What may fail in a ``try``: a listener, or a bind of a socket."""
    for statement in getattr(attempt, "body", []):
        for node in ast.walk(statement):
            if isinstance(node, ast.Call):
                if any(listener.call is node for listener in listeners_of(module)):
                    return "listener"
                if isinstance(node.func, ast.Attribute) and node.func.attr in ("bind", "listen"):
                    return "bind"
    return None


def _tries_again(attempt: ast.AST) -> bool:
    """Whether success ends a loop over ports or addresses: then the handler goes on to the next."""
    statements = [*getattr(attempt, "body", ()), *getattr(attempt, "orelse", ())]
    return any(isinstance(statement, ast.Break | ast.Return) for statement in statements)


def _other_listens(statement: ast.stmt) -> bool:
    """``if error.errno == EADDRINUSE and self.v6``."""
    return (
        isinstance(statement, ast.If)
        and isinstance(statement.test, ast.BoolOp)
        and "EADDRINUSE" in ast.unparse(statement.test)
        and any(
            "6" in (text := ast.unparse(value)) or "six" in text.lower()
            for value in statement.test.values
            if isinstance(value, ast.Name | ast.Attribute)
        )
    )


def _both_families(module: Module, scope: Scope) -> bool:
    text = [
        node.attr
        for node in module.all(ast.Attribute)
        if node.attr in ("AF_INET", "AF_INET6") and scope in module.ancestors(node)
    ]
    return len(set(text)) == 2


def _names_error(module: Module, node: ast.expr | None) -> bool:
    nodes = node.elts if isinstance(node, ast.Tuple) else [node] if node is not None else []
    return any(module.qualified(n).rpartition(".")[2] in _ERRORS for n in nodes)


def _passes(body: list[ast.stmt]) -> bool:
    """Whether a handler has a way through it that does not raise, return or leave."""
    for statement in body:
        if isinstance(statement, ast.Raise | ast.Return | ast.Continue | ast.Break):
            return False
        if isinstance(statement, ast.Expr) and "exit" in ast.unparse(statement):
            return False
        if isinstance(statement, ast.If) and not (
            _passes(statement.body) or not statement.orelse or _passes(statement.orelse)
        ):
            return False
    return True


def _swallowing_errback(module: Module, function: ast.FunctionDef) -> bool:
    """``if failure.type is CannotListenError and ...: pass`` in an errback."""
    used = any(
        isinstance(call.func, ast.Attribute)
        and call.func.attr in ("addErrback", "addCallbacks")
        and any(isinstance(a, ast.Name) and a.id == function.name for a in call.args)
        for call in module.all(ast.Call)
    )
    if not used:
        return False
    for node in ast.walk(function):
        if isinstance(node, ast.If) and "CannotListenError" in ast.unparse(node.test):
            return all(isinstance(statement, ast.Pass) for statement in node.body)
    return False


def _finding(module: Module, node: ast.ExceptHandler | ast.FunctionDef, message: str) -> Finding:
    return Finding("P3", Certainty.LIKELY, module.span(node), message, _REMEDY)


RULE = Rule((b"EADDRINUSE", b"CannotListenError", b"OSError", b"socket.error"), check)
