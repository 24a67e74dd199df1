"""Twisted's listeners, rewritten to dual-stack ones that fail as loudly as they did."""

from __future__ import annotations

import ast

from dsadapter.migration.endpoint_strings import parse_endpoint
from dsadapter.migration.findings import Edit, ReplaceExpression
from dsadapter.migration.listeners import Listener
from dsadapter.migration.listeners.listener import is_stable
from dsadapter.migration.listeners.twisted import template
from dsadapter.migration.module import Module
from dsadapter.migration.rewriting.adapters import TWISTED
from dsadapter.migration.rewriting.plan import Plan, importing

_STRPORTS = ("twisted.application", "strports")
_TLS = ("twisted.protocols.tls", "TLSMemoryBIOFactory")
_ENDPOINT = (TWISTED, "DualStackServerEndpoint")
_UDP = "DualStackDatagramEndpoint(reactor, {port}).listen({factory})"


def plan(module: Module, first: Listener, second: Listener | None, interface: str = "") -> Plan:
    """Rewrite ``first`` to serve both families.

    :param second: the listener that it replaces too, whose failure must stay as loud.
    :param interface: what it listens on instead of the wildcard.
    """
    forms = {first.form} | ({second.form} if second is not None else set())
    factory = module.source(first.factory_node) if first.factory_node is not None else "factory"
    if first.transport == "udp":
        return Plan(_UDP.format(port=_port(module, first), factory=factory))
    if forms <= {"string", "strports", "strports.listen"}:
        return _strings(module, first, second, interface)
    if forms & {"string", "strports", "strports.listen"}:
        return Plan(_service_text(module, first, factory, interface) + first.tail)
    if forms == {"endpoint"}:
        return _endpoint(module, first, factory, interface)
    if "service" in forms and forms != {"service"}:
        return Plan(_service_text(module, first, factory, interface))
    return _service(module, first, second, factory, interface)


def _port(module: Module, listener: Listener) -> str:
    return ast.unparse(listener.port_node) if listener.port_node is not None else listener.port


def _description(module: Module, listener: Listener, interface: str) -> str:
    """The endpoint string as Python source."""
    options = ""
    if "backlog" in listener.options:
        backlog = module.constant(listener.options["backlog"])
        options += f":backlog={backlog}" if isinstance(backlog, int) else ":backlog={backlog}"
    if interface:
        options += f":interface={interface}"
    if listener.port_node is None:
        return f'"dualstack:{listener.port}{options}"'
    value = listener.port_node.value if isinstance(listener.port_node, ast.Constant) else None
    if isinstance(value, int) and "{" not in options:
        return f'"dualstack:{value}{options}"'
    if "{backlog}" in options:
        backlog_text = ast.unparse(listener.options["backlog"])
        options = options.replace("{backlog}", "{" + backlog_text + "}")
    return f'f"dualstack:{{{_port(module, listener)}}}{options}"'


def _service_text(module: Module, listener: Listener, factory: str, interface: str) -> str:
    if listener.transport == "tls":
        context = listener.options.get("contextFactory")
        if context is not None:
            factory = f"TLSMemoryBIOFactory({module.source(context)}, False, {factory})"
    return f"strports.service({_description(module, listener, interface)}, {factory})"


def _service(
    module: Module, first: Listener, second: Listener | None, factory: str, interface: str
) -> Plan:
    """A method of the reactor or a service, which both raise CannotListenError at once.

    ``strports.service`` raises it too: a Deferred that fails would let the program run on without
    its port.
    """
    loudest = first if first.form != "endpoint" or second is None else second
    starts = "" if loudest.form == "service" else ".startService()"
    text = _service_text(module, first, factory, interface) + starts
    shown = text + first.tail
    embedded = [first.port_node, first.options.get("backlog")]
    if not all(node is None or _embeds(node) for node in embedded):
        return Plan(shown)
    edits: list[Edit] = []
    wanted = [_STRPORTS, *([_TLS] if first.transport == "tls" else [])]
    for origin, name in wanted:
        needed = importing(module, origin, name)
        if needed is None:
            return Plan(shown)
        edits += needed
    # Of an endpoint that is replaced by a service, listen() goes as well.
    whole = first.top if first.form == "endpoint" else first.call
    if whole is None or (first.form == "endpoint" and (first.tail or len(first.statements) > 1)):
        return Plan(shown)
    return Plan(shown, (ReplaceExpression(module.span(whole), text), *edits), TWISTED)


def _endpoint(module: Module, first: Listener, factory: str, interface: str) -> Plan:
    """An endpoint, whose Deferred fails; the program does with it what it did."""
    reactor = module.source(first.options["reactor"]) if "reactor" in first.options else "reactor"
    port = module.source(first.port_node) if first.port_node is not None else "port"
    options = ""
    if "backlog" in first.options:
        options += f", backlog={module.source(first.options['backlog'])}"
    if interface:
        options += f', interface="{interface}"'
    text = f"DualStackServerEndpoint({reactor}, {port}{options})"
    edits: list[Edit] = [ReplaceExpression(module.span(first.call), text)]
    wanted = [_ENDPOINT]
    if first.transport == "tls":
        context = first.options.get("sslContextFactory")
        if context is None or first.factory_node is None:
            return Plan(f"{text}.listen(TLSMemoryBIOFactory(options, False, {factory}))")
        factory = f"TLSMemoryBIOFactory({module.source(context)}, False, {factory})"
        edits.append(ReplaceExpression(module.span(first.factory_node), factory))
        wanted.append(_TLS)
    shown = f"{text}.listen({factory}){first.tail}"
    for origin, name in wanted:
        needed = importing(module, origin, name)
        if needed is None or "reactor" not in first.options:
            return Plan(shown)
        edits += needed
    return Plan(shown, tuple(edits), TWISTED)


def _strings(module: Module, first: Listener, second: Listener | None, interface: str) -> Plan:
    node = module.resolve(first.options["description"])
    parsed = parse_endpoint(template(module, node))
    dual = parsed.dual if parsed is not None else ""
    if not dual:
        return Plan(f"dualstack:{first.port}, with TLS options of its own: see docs/twisted.md")
    if interface:
        dual += f":interface={interface}"
    prefix = "f" if "{" in dual else ""
    code = f'{prefix}"{dual}"'
    shown = f"{ast.unparse(first.call.func)}(..., {code})" if first.form == "string" else code
    # strports.listen takes no prefix of a plugin.
    literal = first.options["description"]
    forms = {first.form} | ({second.form} if second is not None else set())
    if len(forms) > 1 or first.form == "strports.listen" or node is not literal or "\\" in code:
        return Plan(shown)
    if prefix and not isinstance(node, ast.JoinedStr):
        return Plan(shown)
    return Plan(shown, (ReplaceExpression(module.span(literal), code),), TWISTED)


def _embeds(node: ast.expr) -> bool:
    """Whether an expression can stand in an f-string of Python 3.11, and gives its value there."""
    text = ast.unparse(node)
    return is_stable(node) and not any(character in text for character in "\"'\\{}")
