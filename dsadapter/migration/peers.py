"""Where the address of a peer comes from, in every framework."""

from __future__ import annotations

import ast

from dsadapter.migration.module import Module

_CALLS = {
    "getPeer",
    "getHost",
    "getpeername",
    "getsockname",
    "accept",
    "recvfrom",
    "recvmsg",
    "getClientIP",
    "getClientAddress",
    "get_remote_address",
}
_ATTRIBUTES = {
    "client_address",
    "remote_addr",
    "remote_ip",
    "REMOTE_ADDR",
    "peername",
    "client_ip",
    "remote_address",
}
_KEYS = {"client", "REMOTE_ADDR", "remote_addr", "peername", "sockname"}
_PARAMETERS = {
    "buildProtocol": ("addr", "address"),
    "datagramReceived": ("addr", "address", "datagram_addr", "host"),
    "datagram_received": ("addr", "address"),
}
#: What Twisted itself gives, and so what a rewritten listener of Twisted's makes canonical.
_TWISTED = ("getPeer", "getClientAddress", "getClientIP")


def peer_source(module: Module, node: ast.expr) -> str:
    """What an address was read from: a method, attribute, key or parameter; empty if unknown."""
    for _ in range(8):
        if isinstance(node, ast.Call):
            found = _from_call(node)
            if found:
                return found
            # str(...), ip_address(...), x.decode(): look at what is converted.
            if node.args and not isinstance(node.func, ast.Attribute):
                node = node.args[0]
            elif isinstance(node.func, ast.Attribute) and module.qualified(node.func).startswith(
                ("ipaddress.", "netaddr.")
            ):
                node = node.args[0] if node.args else node.func.value
            elif isinstance(node.func, ast.Attribute):
                node = node.func.value
            else:
                return ""
        elif isinstance(node, ast.Attribute):
            if node.attr in _ATTRIBUTES:
                return node.attr
            node = node.value
        elif isinstance(node, ast.Subscript):
            key = module.constant(node.slice)
            if isinstance(key, str):
                return key if key in _KEYS else ""
            node = node.value
        elif isinstance(node, ast.Await | ast.Starred):
            node = node.value
        elif isinstance(node, ast.Name):
            if node.id in _ATTRIBUTES:
                return node.id
            following = _bound(module, node)
            if isinstance(following, str):
                return following
            if following is None:
                return ""
            node = following
        else:
            return ""
    return ""


def is_twisted_peer(module: Module, node: ast.expr) -> bool:
    """Whether an address is a peer's, as Twisted gives it to a protocol or a request."""
    return peer_source(module, node) in _TWISTED


def is_cut_from_text(module: Module, node: ast.expr) -> bool:
    """Whether a name holds a part of a text, such as a column of what a program printed."""
    value = _bound(module, node) if isinstance(node, ast.Name) else None
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and value.func.attr in ("split", "rsplit", "partition", "rpartition", "group", "groups")
        and not peer_source(module, value)
    )


def _from_call(call: ast.Call) -> str:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if name in _CALLS:
        return name
    if name in ("get_extra_info", "get") and call.args:
        key = call.args[0]
        if isinstance(key, ast.Constant) and key.value in _KEYS:
            return str(key.value)
    return ""


def _bound(module: Module, name: ast.Name) -> ast.expr | str | None:
    """What a name is first assigned, a tuple's part included; or a peer that is a parameter."""
    scope = module.function(name)
    if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
        wanted = _PARAMETERS.get(scope.name, ())
        if name.id in wanted and any(a.arg == name.id for a in scope.args.args):
            return scope.name
    for stored in sorted(module.all(ast.Name), key=lambda node: node.lineno):
        if stored.id != name.id or isinstance(stored.ctx, ast.Load):
            continue
        if module.function(stored) is not scope:
            continue
        parent = module.parents[stored]
        if isinstance(parent, ast.Tuple | ast.List):
            parent = module.parents[parent]
            if isinstance(parent, ast.Tuple | ast.List):
                parent = module.parents[parent]
        if isinstance(parent, ast.Assign) and stored.lineno <= name.lineno:
            return parent.value
    return None
