"""Twisted's ways to listen: the reactor's methods, endpoints, their strings, services."""

from __future__ import annotations

import ast

from dsadapter.migration.addresses import Host
from dsadapter.migration.endpoint_strings import EndpointString, parse_endpoint
from dsadapter.migration.listeners.listener import (
    Listener,
    Transport,
    arguments,
    host_in,
    is_stable,
    place,
    port_key,
)
from dsadapter.migration.module import Module

_METHODS: dict[str, tuple[Transport, tuple[str, ...]]] = {
    "listenTCP": ("tcp", ("port", "factory", "backlog", "interface")),
    "listenSSL": ("tls", ("port", "factory", "contextFactory", "backlog", "interface")),
    "listenUDP": ("udp", ("port", "protocol", "interface", "maxPacketSize")),
}
_ENDPOINTS: dict[str, tuple[Transport, Host, tuple[str, ...]]] = {
    "TCP4ServerEndpoint": ("tcp", Host.ANY4, ("reactor", "port", "backlog", "interface")),
    "TCP6ServerEndpoint": ("tcp", Host.ANY6, ("reactor", "port", "backlog", "interface")),
    "SSL4ServerEndpoint": (
        "tls",
        Host.ANY4,
        ("reactor", "port", "sslContextFactory", "backlog", "interface"),
    ),
}
_SERVICES: dict[str, tuple[Transport, tuple[str, ...]]] = {
    "TCPServer": _METHODS["listenTCP"],
    "SSLServer": _METHODS["listenSSL"],
    "UDPServer": _METHODS["listenUDP"],
}
_OWN = ("reactor", "port", "factory", "protocol", "interface")


def recognize(module: Module, call: ast.Call) -> Listener | None:
    """The listener of Twisted's that a call is."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    qualified = module.qualified(call.func)
    last = qualified.rpartition(".")[2] or name
    if name in _METHODS:
        return _method(module, call, name, qualified)
    if last in _ENDPOINTS and (qualified == last or "endpoints" in qualified):
        return _endpoint(module, call, last, qualified)
    if last == "serverFromString":
        return _string(module, call, qualified)
    if qualified.startswith("twisted.application.internet.") and last in _SERVICES:
        return _service(module, call, last)
    if qualified in (
        "twisted.application.strports.service",
        "twisted.application.strports.listen",
        "strports.service",
        "strports.listen",
    ):
        return _strports(module, call, qualified)
    return None


def _method(module: Module, call: ast.Call, name: str, qualified: str) -> Listener | None:
    transport, names = _METHODS[name]
    bound = arguments(call, *names)
    if bound is None or "port" not in bound:
        return None
    listener = _listener(module, call, "reactor", transport, bound, Host.ANY4)
    listener.proven = qualified == f"twisted.internet.reactor.{name}"
    if isinstance(call.func, ast.Attribute):
        listener.rest += (("reactor", ast.unparse(call.func.value)),)
    place(module, listener, call)
    return listener


def _endpoint(module: Module, call: ast.Call, name: str, qualified: str) -> Listener | None:
    transport, default, names = _ENDPOINTS[name]
    bound = arguments(call, *names)
    if bound is None or "port" not in bound:
        return None
    # An empty interface means IPv4 to listenTCP, whatever the class is called.
    listener = _listener(module, call, "endpoint", transport, bound, default)
    if listener.host_node is not None and module.constant(listener.host_node) == "":
        listener.host = Host.ANY4
    listener.proven = qualified == f"twisted.internet.endpoints.{name}"
    listener.rest += (("reactor", ast.unparse(bound["reactor"])),) if "reactor" in bound else ()
    _opened(module, listener, call, "listen")
    return listener


def _string(module: Module, call: ast.Call, qualified: str) -> Listener | None:
    bound = arguments(call, "reactor", "description")
    if bound is None or "description" not in bound:
        return None
    listener = _described(module, call, "string", bound["description"])
    if listener is None:
        return None
    listener.proven = qualified == "twisted.internet.endpoints.serverFromString"
    listener.rest += (("reactor", ast.unparse(bound["reactor"])),) if "reactor" in bound else ()
    _opened(module, listener, call, "listen")
    return listener


def _service(module: Module, call: ast.Call, name: str) -> Listener | None:
    transport, names = _SERVICES[name]
    bound = arguments(call, *names)
    if bound is None or "port" not in bound or "reactor" in bound:
        return None
    listener = _listener(module, call, "service", transport, bound, Host.ANY4)
    listener.proven = True
    _opened(module, listener, call, "setServiceParent")
    return listener


def _strports(module: Module, call: ast.Call, qualified: str) -> Listener | None:
    bound = arguments(call, "description", "factory", "reactor")
    if bound is None or "description" not in bound:
        return None
    form = "strports" if qualified.endswith("service") else "strports.listen"
    listener = _described(module, call, form, bound["description"])
    if listener is None:
        return None
    _serves(listener, bound.get("factory"))
    listener.proven = qualified.startswith("twisted.")
    listener.rest += (("reactor", ast.unparse(bound["reactor"])),) if "reactor" in bound else ()
    if form == "strports":
        _opened(module, listener, call, "setServiceParent")
    else:
        place(module, listener, call)
    return listener


def _listener(
    module: Module,
    call: ast.Call,
    form: str,
    transport: Transport,
    bound: dict[str, ast.expr],
    default: Host,
) -> Listener:
    interface = bound.get("interface")
    listener = Listener(
        framework="twisted",
        form=form,
        transport=transport,
        call=call,
        port=port_key(module, bound["port"]),
        port_node=bound["port"],
        host=host_in(module, interface, default),
        host_node=interface,
        options=bound,
        rest=tuple(
            sorted((name, ast.unparse(value)) for name, value in bound.items() if name not in _OWN)
        ),
    )
    _serves(listener, bound.get("factory", bound.get("protocol")))
    return listener


def _described(module: Module, call: ast.Call, form: str, description: ast.expr) -> Listener | None:
    parsed = described(module, description)
    if parsed is None:
        return None
    return Listener(
        framework="twisted",
        form=form,
        transport="tcp" if parsed.prefix.startswith("tcp") else "tls",
        call=call,
        # {port} of an f-string and the port of a call are the same expression.
        port=parsed.port.strip("{}") if parsed.port != "0" else "",
        port_node=None,
        host=parsed.host,
        host_node=None,
        options={"description": description},
        rest=parsed.rest,
    )


def described(module: Module, node: ast.expr) -> EndpointString | None:
    """The endpoint string that an expression is: a literal, or an f-string of simple names."""
    text = template(module, node)
    return parse_endpoint(text) if text else None


def template(module: Module, node: ast.expr) -> str:
    """A literal string, or an f-string with its expressions in braces; empty for anything else."""
    node = module.resolve(node)
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and "{" not in node.value:
        return node.value
    if not isinstance(node, ast.JoinedStr):
        return ""
    parts: list[str] = []
    for value in node.values:
        if isinstance(value, ast.Constant) and "{" not in str(value.value):
            parts.append(str(value.value))
        elif (
            isinstance(value, ast.FormattedValue)
            and value.conversion == -1
            and value.format_spec is None
            and is_stable(value.value)
        ):
            parts.append("{" + ast.unparse(value.value) + "}")
        else:
            return ""
    return "".join(parts)


def _serves(listener: Listener, factory: ast.expr | None) -> None:
    if factory is not None:
        listener.factory = ast.unparse(factory)
        listener.factory_node = factory
        listener.shared = is_stable(factory)


def _opened(module: Module, listener: Listener, call: ast.Call, method: str) -> None:
    """Find where an endpoint or service is opened: at once, or through a name, later."""
    parent = module.parents[call]
    opening = _called(module, call, method)
    if opening is not None:
        place(module, listener, call if method == "setServiceParent" else opening)
        if method == "listen":
            _serves(listener, opening.args[0] if len(opening.args) == 1 else None)
        return
    place(module, listener, call)
    listener.result = "kept"
    if not (
        isinstance(parent, ast.Assign)
        and len(parent.targets) == 1
        and isinstance(name := parent.targets[0], ast.Name)
    ):
        return
    scope = module.scope(name)
    uses = module.loads(name.id, scope)
    following = _follows(module, parent, name)
    if following is not None and len(uses) == len(module.bindings(scope)[name.id]):
        # One name for one endpoint after the other, each opened at once.
        uses = [following]
    elif len(uses) != 1 or len(module.bindings(scope)[name.id]) != 1:
        # The name is used for more: say what serves, if it is opened once.
        openings = [o for use in uses if (o := _called(module, use, method)) is not None]
        if len(openings) == 1 and method == "listen" and openings[0].args:
            _serves(listener, openings[0].args[0])
        return
    opening = _called(module, uses[0], method)
    if opening is None:
        return
    if method == "listen":
        _serves(listener, opening.args[0] if len(opening.args) == 1 else None)
    place(module, listener, opening)
    if method == "setServiceParent":
        listener.tail = f".{ast.unparse(opening).partition('.')[2]}"
    opened = module.statement(opening)
    listener.statements = (parent, opened)
    if module.block(parent) is not module.block(opened):
        listener.result = "kept"


def _follows(module: Module, assignment: ast.stmt, name: ast.Name) -> ast.Name | None:
    """The one use of a name in the statement behind its assignment."""
    block = module.block(assignment)
    place = block.index(assignment) + 1
    if place == len(block) or not isinstance(block[place], ast.Expr):
        return None
    uses = [
        node for node in ast.walk(block[place]) if isinstance(node, ast.Name) and node.id == name.id
    ]
    return uses[0] if len(uses) == 1 else None


def _called(module: Module, node: ast.expr, method: str) -> ast.Call | None:
    attribute = module.parents[node]
    if isinstance(attribute, ast.Attribute) and attribute.attr == method:
        call = module.parents[attribute]
        if isinstance(call, ast.Call) and call.func is attribute:
            return call
    return None
