"""P13 and P14: the family of a peer, guessed from text."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dsadapter.migration.findings import Certainty, Finding
from dsadapter.migration.module import Module
from dsadapter.migration.patterns import PATTERNS
from dsadapter.migration.peers import peer_source
from dsadapter.migration.rules.rule import Rule


def check(module: Module) -> Iterator[Finding]:
    """Find dots and colons looked for in addresses, and peers' texts split or compared."""
    for compare in module.all(ast.Compare):
        if (
            isinstance(compare.ops[0], ast.In | ast.NotIn)
            and module.constant(compare.left) in (".", ":")
            and (source := peer_source(module, compare.comparators[0]))
        ):
            message = f"the family is guessed from a character of what {source} gives"
            yield Finding(
                "P13",
                Certainty.POSSIBLE,
                module.span(compare),
                message,
                PATTERNS["P13"].remedy,
            )
        elif any(module.constant(node) in ("tcp6", "tcp4") for node in _sides(compare)) and any(
            _is_peer_text(module, node) for node in _sides(compare)
        ):
            yield _peer_text(module, compare)
    for call in module.all(ast.Call):
        if not (isinstance(call.func, ast.Attribute) and call.args):
            continue
        argument = module.constant(call.args[0])
        if (call.func.attr == "startswith" and argument in ("tcp6", "tcp6:", "tcp4", "tcp4:")) or (
            call.func.attr in ("split", "rsplit", "partition", "rpartition")
            and argument == ":"
            and _is_peer_attribute(module, call.func.value)
        ):
            yield _peer_text(module, call)


def _sides(compare: ast.Compare) -> list[ast.expr]:
    return [compare.left, *compare.comparators]


def _is_peer_text(module: Module, node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and any(
        _is_peer_attribute(module, value)
        for binding in module.bound(node)
        if isinstance(binding, ast.expr)
        for value in ast.walk(binding)
        if isinstance(value, ast.expr)
    )


def _is_peer_attribute(module: Module, node: ast.expr) -> bool:
    """``request.peer`` of autobahn, or a name for it."""
    if isinstance(node, ast.Name) and node.id == "peer":
        node = module.resolve(node)
    return isinstance(node, ast.Attribute) and node.attr == "peer"


def _peer_text(module: Module, node: ast.expr) -> Finding:
    message = "the text of a peer is taken apart, and reads 'tcp4:' for IPv4 from now on"
    return Finding("P14", Certainty.LIKELY, module.span(node), message, PATTERNS["P14"].remedy)


RULE = Rule((b"tcp6", b".peer", b"getpeername", b"getsockname", b"REMOTE_ADDR", b"peername"), check)
