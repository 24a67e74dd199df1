"""What decides whom to serve: code that must see every form of an address, and is left alone."""

from __future__ import annotations

import ast

from dsadapter.migration.module import Module

_WORDS = {
    "is_private",
    "is_global",
    "is_loopback",
    "is_reserved",
    "is_link_local",
    "is_multicast",
    "is_unspecified",
    "ip_network",
    "IPNetwork",
    "IPSet",
}


def decides(module: Module, node: ast.AST) -> bool:
    """Whether code judges addresses: a filter, a block list, an access list, or a helper of one."""
    scope = module.function(node)
    if scope is module.tree:
        return False
    if _judges(scope):
        return True
    name = getattr(scope, "name", "")
    return any(
        _judges(caller)
        for call in module.all(ast.Call)
        if name and name in (getattr(call.func, "attr", ""), getattr(call.func, "id", ""))
        if (caller := module.function(call)) is not module.tree
    )


def _judges(scope: ast.AST) -> bool:
    return any(
        (isinstance(part, ast.Attribute) and part.attr in _WORDS)
        or (isinstance(part, ast.Name) and part.id in _WORDS)
        for part in ast.walk(scope)
    )
