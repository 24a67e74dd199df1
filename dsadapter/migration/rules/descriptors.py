"""P15: a descriptor that is adopted with a family that nobody asked it for."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dsadapter.migration.findings import Certainty, Finding
from dsadapter.migration.module import Module
from dsadapter.migration.rules.rule import Rule

_ASK = "socket.socket(fileno=fd), whose family is the descriptor's own"
#: Where each call takes the family.
_FAMILY = {
    "fromfd": 1,
    "adoptStreamPort": 1,
    "adoptDatagramPort": 1,
    "AdoptedStreamServerEndpoint": 2,
    "socket": 0,
}


def check(module: Module) -> Iterator[Finding]:
    """Find descriptors that are declared AF_INET."""
    for call in module.all(ast.Call):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        name = name or module.qualified(call.func).rpartition(".")[2]
        position = _FAMILY.get(name)
        if position is None or (name == "socket" and not _adopts(call)):
            continue
        if _fixed(module, call, position):
            yield _finding(module, call, f"{name} is told AF_INET, whatever the descriptor is")
    for constant in module.all(ast.Constant):
        if isinstance(constant.value, str) and fixes_family(constant.value):
            message = f"{constant.value!r} declares the descriptor AF_INET, whatever it is"
            yield Finding(
                "P15", Certainty.LIKELY, module.span(constant), message, "dualstack:systemd=..."
            )


def fixes_family(text: str) -> bool:
    """Whether an endpoint string adopts a descriptor as AF_INET."""
    prefix, _, rest = text.partition(":")
    return prefix == "systemd" and "domain=INET" in rest.split(":")


def _adopts(call: ast.Call) -> bool:
    return any(keyword.arg == "fileno" for keyword in call.keywords)


def _fixed(module: Module, call: ast.Call, position: int) -> bool:
    nodes = [*call.args[position : position + 1]]
    nodes += [k.value for k in call.keywords if k.arg in ("addressFamily", "family")]
    return any(_is_inet(module, node) for node in nodes)


def _is_inet(module: Module, node: ast.expr) -> bool:
    if module.qualified(node).rpartition(".")[2] == "AF_INET":
        return True
    if not isinstance(node, ast.Name):
        return False
    # A parameter whose default nobody overrides in the usual case.
    scope = module.function(node)
    if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return False
    names = [argument.arg for argument in scope.args.args]
    defaults = dict(zip(reversed(names), reversed(scope.args.defaults), strict=False))
    default = defaults.get(node.id)
    return default is not None and module.qualified(default).rpartition(".")[2] == "AF_INET"


def _finding(module: Module, call: ast.Call, message: str) -> Finding:
    return Finding("P15", Certainty.LIKELY, module.span(call), message, _ASK)


RULE = Rule((b"fromfd", b"adopt", b"AdoptedStream", b"fileno", b"systemd:"), check)
