"""P1: two listeners for one service, one a family."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dsadapter.migration.addresses import Host, host_of
from dsadapter.migration.findings import Certainty, Finding
from dsadapter.migration.listeners import Listener, listeners_of
from dsadapter.migration.module import Module
from dsadapter.migration.rewriting.planning import merge
from dsadapter.migration.rules.forgiving import is_forgiven
from dsadapter.migration.rules.rule import Rule

_DERIVED = ("getHost", "getsockname", "server_address", "sockets", "server_port")
_NOTES = "paired"
_WORDS = ("listen", "bind", "serve", "server")
_ENDS = {"run", "run_forever", "exit", "_exit", "quit", "abort"}
_CREATE_SERVER = "socket.create_server"
_READY = "dsadapter.sockets.listening.listening_socket('::', port)"
_INSTEAD = {
    _CREATE_SERVER: "dsadapter.frameworks.blocking.create_server(('::', port))",
    # It learns its name as it binds.
    "wsgiref.simple_server.make_server": "make_server('::', port, app, server_class=Server), with "
    "class Server(dsadapter.frameworks.blocking.DualStackMixin, WSGIServer)",
}
_HARMLESS = (ast.Assign, ast.AnnAssign, ast.Expr, ast.Pass, ast.Import, ast.ImportFrom)


def check(module: Module) -> Iterator[Finding]:
    """Find the pairs of a module."""
    listeners = listeners_of(module)
    paired = paired_listeners(module)
    for number, first in enumerate(listeners):
        for second in listeners[number + 1 :]:
            if first in paired or second in paired:
                continue
            finding = _pair(module, first, second)
            if finding is not None:
                paired.update((first, second))
                yield finding
    yield from _unknown_pairs(module)


def paired_listeners(module: Module) -> set[Listener]:
    """The listeners that are part of a pair already."""
    found: set[Listener] = module.notes.setdefault(_NOTES, set())
    return found


def _pair(module: Module, first: Listener, second: Listener) -> Finding | None:
    if not (second.host is first.host.counterpart or _by_options(first, second)):
        return None
    together = module.block(first.statement) is module.block(second.statement)
    derived = together and _takes_port(first, second)
    if not (first.same_service(second) or derived or (together and _opened_later(first, second))):
        return None
    plan = merge(module, first, second)
    certainty, reason = _certainty(module, first, second, together)
    if certainty is Certainty.CERTAIN and not plan.edits:
        certainty, reason = Certainty.LIKELY, "what they do besides can't be kept by rewriting"
    what = f"one port, {first.port}" if first.port else "one port"
    if derived:
        what = "the port of the first"
    message = (
        f"{_name(first)} on {first.host.value} (line {first.call.lineno}) and {_name(second)} on"
        f" {second.host.value} (line {second.call.lineno}) listen on {what}"
        + (f"; {reason}" if reason else "")
    )
    return Finding(
        "P1",
        certainty,
        module.span(first.call),
        message,
        plan.replacement,
        plan.edits if certainty is Certainty.CERTAIN else (),
        plan.adapter,
        also=tuple(range(second.call.lineno, _last_line(second) + 1)),
    )


def _last_line(listener: Listener) -> int:
    return listener.call.end_lineno or listener.call.lineno


def _certainty(
    module: Module, first: Listener, second: Listener, together: bool
) -> tuple[Certainty, str]:
    if not together:
        return Certainty.POSSIBLE, "not one after the other, so perhaps only one of them runs"
    if Host.UNKNOWN in (first.host, second.host):
        return Certainty.LIKELY, "their addresses are not known here"
    if not first.host.wildcard:
        return Certainty.LIKELY, "a private service: 'localhost' serves both, '::' would publish it"
    for unless, reason in (
        (first.proven and second.proven, "where they come from is not seen here"),
        (bool(first.port), "the port is not a fixed one"),
        (first.same_service(second), "what each serves is not seen here"),
        (first.shared and second.shared, "each serves an object of its own"),
        (first.rest == second.rest, "their other arguments differ"),
        (first.tail == second.tail, "what is done with the results differs"),
        (_quiet(module, first) and _quiet(module, second), "their results are used"),
        (_undisturbed(module, first, second), "something happens between them"),
        (_alone(module, first, second), "a third listener has this port"),
        (not is_forgiven(module, first.statement), "a failure of theirs is forgiven"),
    ):
        if not unless:
            return Certainty.LIKELY, reason
    return Certainty.CERTAIN, ""


def _quiet(module: Module, listener: Listener) -> bool:
    """Whether nothing of the listener is looked at afterwards."""
    if listener.framework == "stdlib":
        return True  # the plan checks it
    if listener.result != "dropped" or _named_elsewhere(module, listener):
        return False
    if listener.form in ("service", "strports"):
        return listener.tail.startswith(".setServiceParent(") and listener.tail.count("(") == 1
    return listener.form != "reactor" or not listener.tail


def _named_elsewhere(module: Module, listener: Listener) -> bool:
    return any(
        isinstance(target, ast.Name) and module.mentioned(target.id)
        for statement in listener.statements
        if isinstance(statement, ast.Assign)
        for target in statement.targets
    )


def _undisturbed(module: Module, first: Listener, second: Listener) -> bool:
    block = module.block(first.statement)
    own = {*first.statements, *second.statements}
    numbers = [block.index(statement) for statement in own]
    names = first.names | second.names
    for statement in block[min(numbers) : max(numbers)]:
        if statement in own:
            continue
        if not isinstance(statement, _HARMLESS):
            return False
        nodes = list(ast.walk(statement))
        if any(
            isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load) and node.id in names
            for node in nodes
        ):
            return False
        if any(
            isinstance(node, ast.alias)
            and (node.asname or node.name.partition(".")[0]) in names | {"*"}
            for node in nodes
        ):
            return False
        if any(isinstance(node, ast.Await | ast.Yield | ast.YieldFrom) for node in nodes):
            return False
        if any(
            (isinstance(node, ast.Attribute) and node.attr in _ENDS)
            or (isinstance(node, ast.Name) and node.id in _ENDS)
            for node in nodes
        ):
            return False
        if not any(
            isinstance(node, ast.Call | ast.Attribute)
            or (isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load))
            for node in nodes
        ):
            continue
        # A call, or an assignment to an attribute or an item, may change what these stand for.
        if any(mark in first.port + first.factory for mark in ".[") or _rebound(
            module, first, names
        ):
            return False
    return True


def _rebound(module: Module, listener: Listener, names: set[str]) -> bool:
    nodes = [node for node in (listener.port_node, listener.factory_node) if node is not None]
    return any(
        isinstance(node, ast.Name) and node.id in names and len(module.bound(node)) > 1
        for tree in nodes
        for node in ast.walk(tree)
    )


def _alone(module: Module, first: Listener, second: Listener) -> bool:
    block = module.block(first.statement)
    return not any(
        other.port == first.port
        and other.transport == first.transport
        and module.block(other.statement) is block
        for other in listeners_of(module)
        if other not in (first, second)
    )


def _takes_port(first: Listener, second: Listener) -> bool:
    statement = first.statement
    if not isinstance(statement, ast.Assign | ast.AnnAssign) or second.port_node is None:
        return False
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    text = ast.unparse(second.port_node)
    return any(word in text for word in _DERIVED) and any(
        text.startswith(f"{ast.unparse(target)}.") for target in targets
    )


def _opened_later(first: Listener, second: Listener) -> bool:
    return (
        first.form == second.form == "endpoint"
        and not first.factory
        and not second.factory
        and bool(first.port)
        and first.port == second.port
        and first.transport == second.transport
    )


def _by_options(first: Listener, second: Listener) -> bool:
    """Whether each class of endpoint takes an address that is not known here, one a family."""
    classes = {_name(first), _name(second)}
    return classes == {"TCP4ServerEndpoint", "TCP6ServerEndpoint"} and (
        first.host is second.host is Host.UNKNOWN
    )


def _unknown_pairs(module: Module) -> Iterator[Finding]:
    """The same call twice, of whatever listens, on ``"0.0.0.0"`` and on ``"::"``."""
    known = {listener.call for listener in listeners_of(module)}
    seen: list[tuple[ast.Call, int, Host, str]] = []
    for call in module.all(ast.Call):
        if call in known or not _sounds_like_listening(module, call):
            continue
        for number, host, rest in _hosts(module, call):
            if not host.wildcard:
                continue
            for other, position, opposite, others in seen:
                if (
                    position == number
                    and opposite is host.counterpart
                    and ast.unparse(other.func) == ast.unparse(call.func)
                    and len(other.args) == len(call.args)
                    and others == rest
                    and module.function(other) is module.function(call)
                ):
                    first, second = sorted((other, call), key=lambda c: c.lineno)
                    yield Finding(
                        "P1",
                        Certainty.LIKELY,
                        module.span(first),
                        f"{ast.unparse(call.func)} is called for each wildcard (line"
                        f" {first.lineno} and line {second.lineno})",
                        _INSTEAD.get(module.qualified(call.func), _READY),
                    )
            seen.append((call, number, host, rest))


def _hosts(module: Module, call: ast.Call) -> Iterator[tuple[int, Host, str]]:
    """What may be the host of a call, by its position, with what goes with it."""
    arguments = list(enumerate(call.args))
    rest = ast.unparse(call.args[-1]) if call.args else ""
    nothing = Host.UNKNOWN
    if module.qualified(call.func) == _CREATE_SERVER:
        address = call.args[0] if call.args else None
        if not (isinstance(address, ast.Tuple) and len(address.elts) == 2):
            return
        arguments, rest = [(0, address.elts[0])], ast.unparse(address.elts[1])
        options = " ".join(ast.unparse(keyword) for keyword in call.keywords)
        if "dualstack_ipv6" in options:
            return
        nothing = Host.ANY6 if "AF_INET6" in options else Host.ANY4
    for number, argument in arguments:
        value = module.constant(argument)
        yield number, host_of(value, nothing) if isinstance(value, str) else Host.UNKNOWN, rest


def _sounds_like_listening(module: Module, call: ast.Call) -> bool:
    if module.qualified(call.func) == _CREATE_SERVER:
        return True
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    return len(call.args) > 1 and any(word in name.lower() for word in _WORDS)


def _name(listener: Listener) -> str:
    return ast.unparse(listener.call.func).rpartition(".")[2]


RULE = Rule(
    (
        b"listenTCP",
        b"listenSSL",
        b"listenUDP",
        b"ServerEndpoint",
        b"serverFromString",
        b"strports",
        b"TCPServer",
        b"SSLServer",
        b"UDPServer",
        b"HTTPServer",
        b"XMLRPCServer",
        b"make_server",
        b"create_server",
        b"start_server",
        b"run_app",
        b"TCPSite",
        b"_server",
        b"listen(",
        b"bind(",
        b"serve(",
    ),
    check,
)
