"""Pairs of the standard library's servers, rewritten to one with the dual-stack mix-in."""

from __future__ import annotations

import ast

from dsadapter.migration.findings import AddBase, Edit, ReplaceStatement
from dsadapter.migration.listeners import Listener
from dsadapter.migration.listeners.stdlib import class_of
from dsadapter.migration.module import Module
from dsadapter.migration.rewriting.adapters import STDLIB
from dsadapter.migration.rewriting.plan import Plan, importing

_MIXIN = "DualStackMixin"


def plan(module: Module, four: Listener, six: Listener) -> Plan:
    """Keep the IPv6 server, give its class the mix-in, and drop the IPv4 server and its thread."""
    name = ast.unparse(six.call.func)
    shown = f"class {name}({_MIXIN}, ...), without the server for IPv4"
    definition = class_of(module, six.call.func)
    uses = _thread(module, four)
    needed = importing(module, STDLIB, _MIXIN)
    if definition is None or uses is None or needed is None or definition.decorator_list:
        return Plan(shown)
    # What serves IPv4 must be what the class adds IPv6 to, or it would change hands.
    if ast.unparse(four.call.func) not in [ast.unparse(base) for base in definition.bases]:
        return Plan(shown)
    if len(module.loads(definition.name, module.tree)) != 1 or not definition.bases:
        return Plan(shown)
    body = _overrides(definition)
    if body is None:
        return Plan(shown)
    edits: list[Edit] = [
        AddBase(module.span(definition), _MIXIN),
        *needed,
        *(ReplaceStatement(module.span(statement)) for statement in [*body, *uses]),
        *(ReplaceStatement(module.span(statement)) for statement in four.statements),
    ]
    return Plan(shown, tuple(edits), STDLIB)


def _overrides(definition: ast.ClassDef) -> list[ast.stmt] | None:
    """What the mix-in does from now on: family and V6ONLY. None if there is more."""
    replaced: list[ast.stmt] = []
    for statement in definition.body:
        if isinstance(statement, ast.Assign):
            target, *others = statement.targets
            if isinstance(target, ast.Name) and target.id == "address_family":
                if others:
                    return None
                replaced.append(statement)
        elif isinstance(statement, ast.FunctionDef) and statement.name == "server_bind":
            if not _only_clears(statement):
                return None
            replaced.append(statement)
        elif not isinstance(statement, ast.Pass) and not (
            isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        ):
            return None
    return replaced


def _only_clears(function: ast.FunctionDef) -> bool:
    calls = [s.value for s in function.body if isinstance(s, ast.Expr)]
    return (
        not function.decorator_list
        and len(calls) == len(function.body) == 2
        and "IPV6_V6ONLY" in ast.unparse(calls[0])
        and ".setsockopt(" in ast.unparse(calls[0])
        and ast.unparse(calls[1]).endswith((".server_bind()", ".server_bind(self)"))
    )


def _thread(module: Module, four: Listener) -> list[ast.stmt] | None:
    """The one statement that serves in a thread, ``Thread(target=NAME.serve_forever).start()``."""
    assignment = four.statement
    if not (
        isinstance(assignment, ast.Assign)
        and len(assignment.targets) == 1
        and isinstance(name := assignment.targets[0], ast.Name)
        and assignment.value is four.call
    ):
        return None
    uses = module.loads(name.id, module.scope(name))
    if len(uses) != 1 or module.mentioned(name.id):
        return None
    statement = module.statement(uses[0])
    if not isinstance(statement, ast.Expr) or module.block(statement) is not module.block(
        assignment
    ):
        return None
    start = statement.value
    if not (
        isinstance(start, ast.Call)
        and isinstance(start.func, ast.Attribute)
        and start.func.attr == "start"
        and isinstance(thread := start.func.value, ast.Call)
        and module.qualified(thread.func) == "threading.Thread"
        and not thread.args
        and {k.arg for k in thread.keywords} <= {"target", "daemon", "name"}
    ):
        return None
    return [statement]
