"""P16: a Twisted listener on the IPv6 wildcard alone, dual-stack or not as the system likes."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dsadapter.migration.addresses import Host
from dsadapter.migration.endpoint_strings import parse_endpoint
from dsadapter.migration.findings import Certainty, Finding
from dsadapter.migration.listeners import Listener, listeners_of
from dsadapter.migration.module import Module
from dsadapter.migration.rewriting.adapters import TWISTED
from dsadapter.migration.rewriting.planning import widen
from dsadapter.migration.rules.pairs import RULE as PAIRS
from dsadapter.migration.rules.pairs import paired_listeners
from dsadapter.migration.rules.rule import Rule


def check(module: Module) -> Iterator[Finding]:
    """Find the listeners on ``::`` that have no sibling on the same port."""
    listeners = listeners_of(module)
    for listener in listeners:
        if (
            listener.framework != "twisted"
            or listener.host is not Host.ANY6
            or listener in paired_listeners(module)
        ):
            continue
        sibling = any(
            other.host is not Host.ANY6
            and other.transport == listener.transport
            and (other.port == listener.port or other.port_node is None)
            for other in listeners
        )
        plan = widen(module, listener)
        yield Finding(
            "P16",
            Certainty.POSSIBLE if sibling else Certainty.LIKELY,
            module.span(listener.call),
            f"{_name(listener)} listens on :: and leaves IPV6_V6ONLY to the system"
            + ("; another listener may be for IPv4" if sibling else ""),
            plan.replacement,
            (),
            plan.adapter,
        )
    yield from _defaults(module)


def _defaults(module: Module) -> Iterator[Finding]:
    """An endpoint string for ``::`` that is kept for later, such as the default of an option."""
    used = {
        module.resolve(listener.options["description"])
        for listener in listeners_of(module)
        if "description" in listener.options
    }
    for constant in module.all(ast.Constant):
        if constant in used or not isinstance(constant.value, str) or len(constant.value) > 200:
            continue
        parsed = parse_endpoint(constant.value)
        if parsed is not None and parsed.host is Host.ANY6:
            message = f"{constant.value!r} leaves IPV6_V6ONLY to the system"
            replacement = f'"{parsed.dual}"' if parsed.dual else "a dualstack: string"
            span = module.span(constant)
            yield Finding("P16", Certainty.LIKELY, span, message, replacement, (), TWISTED)


def _name(listener: Listener) -> str:
    return ast.unparse(listener.call.func).rpartition(".")[2]


RULE = Rule((*PAIRS.triggers, b"tcp6:", b"tls:", b"interface="), check)
