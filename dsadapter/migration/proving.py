"""Which rewrites of a file are sure, all of them together."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import replace

from dsadapter.migration.findings import Certainty, Finding
from dsadapter.migration.listeners import Listener, listeners_of
from dsadapter.migration.module import Module
from dsadapter.migration.peers import is_twisted_peer, peer_source
from dsadapter.migration.rewriting.adapters import TWISTED
from dsadapter.migration.rules.strips import stripped_address

_STRIPS = "P8"
#: What the change of a listener touches: code that reads its peers, and the file's other listeners.
_TOUCHED = {"P1", "P2", "P3", "P8", "P9", "P10", "P10x", "P11", "P13", "P14", "P16"}
_CLIENTS = ("connectTCP", "connectSSL", "connectUDP", "clientFromString", "ClientEndpoint")


def judged(module: Module, findings: Iterable[Finding]) -> list[Finding]:
    """Promote the strips that a sure listener makes useless, and demote all if one part is unsure.

    A file is changed as a whole or not at all: half of a rewrite may serve nobody.
    """
    found = [_proved(module, finding, findings) for finding in findings]
    unsure = [
        finding
        for finding in found
        if finding.pattern in _TOUCHED
        and finding.certainty is Certainty.LIKELY
        and not finding.ignored
    ]
    if unsure:
        lines = sorted({finding.span.line for finding in unsure})
        reason = f"left, because line {lines[0]} of the file needs a decision"
        found = [
            replace(
                finding,
                certainty=Certainty.LIKELY,
                message=f"{finding.message}; {reason}",
                edits=(),
            )
            if finding.certainty is Certainty.CERTAIN
            else finding
            for finding in found
        ]
    return sorted(found, key=lambda finding: (finding.span, finding.pattern))


def _proved(module: Module, finding: Finding, findings: Iterable[Finding]) -> Finding:
    """A strip of the peers that a rewritten listener serves, and nobody else, is sure to go."""
    if finding.pattern != _STRIPS or not finding.edits:
        return finding
    address = stripped_address(module, finding)
    rewritten = [
        other
        for other in findings
        if other.certainty is Certainty.CERTAIN and other.adapter and not other.ignored
    ]
    if address is None or not rewritten or finding.ignored:
        return replace(finding, edits=())
    lines = {other.span.line for other in rewritten}
    served = [listener for listener in listeners_of(module) if listener.call.lineno in lines]
    adapter = rewritten[0].adapter
    if (
        not _serves_only(module, address, served, rewritten)
        or any(other.adapter != adapter for other in rewritten)
        or (adapter == TWISTED and not is_twisted_peer(module, address))
        or (adapter != TWISTED and peer_source(module, address) != "peername")
    ):
        return replace(finding, edits=())
    return replace(
        finding,
        certainty=Certainty.CERTAIN,
        adapter=adapter,
        replacement="nothing: peers of the dual-stack listener are IPv4 or IPv6",
    )


def _serves_only(
    module: Module, address: ast.expr, served: list[Listener], rewritten: list[Finding]
) -> bool:
    """Whether the code around an address runs for the peers of rewritten listeners only."""
    if len(served) < len(rewritten) or any(_is_client(module, c) for c in module.all(ast.Call)):
        return False
    around = [
        node
        for node in module.ancestors(address)
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    if not around:
        return False
    name = around[-1].name
    partners = _partners(module, served)
    others = [listener for listener in listeners_of(module) if listener not in partners]
    return any(name in _reached(module, listener) for listener in served) and not any(
        name in _reached(module, listener) for listener in others
    )


def _partners(module: Module, served: list[Listener]) -> list[Listener]:
    return [
        listener
        for listener in listeners_of(module)
        if any(
            listener is one
            or (listener.same_service(one) and listener.host is one.host.counterpart)
            for one in served
        )
    ]


def _reached(module: Module, listener: Listener) -> set[str]:
    """The names of classes and functions that what a listener serves leads to."""
    definitions: dict[str, ast.AST] = {
        node.name: node
        for node in module.tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    }
    waiting: list[ast.AST] = []
    if listener.factory_node is not None:
        waiting.append(listener.factory_node)
    names: set[str] = set()
    while waiting:
        for part in ast.walk(waiting.pop()):
            if isinstance(part, ast.Name) and part.id not in names:
                names.add(part.id)
                if part.id in definitions:
                    waiting.append(definitions[part.id])
                waiting.extend(_said_of(module, part))
    return names


def _said_of(module: Module, name: ast.Name) -> list[ast.AST]:
    """What a name is bound to, and what its attributes are: ``factory.protocol = Echo``."""
    said: list[ast.AST] = [b for b in module.bound(name) if isinstance(b, ast.expr)]
    for assignment in module.all(ast.Assign):
        for target in assignment.targets:
            if (
                isinstance(target, ast.Attribute)
                and isinstance(target.value, ast.Name)
                and target.value.id == name.id
            ):
                said.append(assignment.value)
    return said


def _is_client(module: Module, call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else module.qualified(call.func)
    return name.endswith(_CLIENTS)
