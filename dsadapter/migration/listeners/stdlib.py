"""The servers of the standard library: socketserver, http.server, wsgiref, xmlrpc."""

from __future__ import annotations

import ast

from dsadapter.migration.addresses import host_in_family
from dsadapter.migration.listeners.listener import Listener, arguments, is_stable, place, port_key
from dsadapter.migration.module import Module

_MODULES = ("socketserver.", "http.server.", "wsgiref.simple_server.", "xmlrpc.server.")
_OLD = ("SocketServer.", "BaseHTTPServer.", "SimpleXMLRPCServer.")


def recognize(module: Module, call: ast.Call) -> Listener | None:
    """The server of the standard library that a call makes."""
    qualified = module.qualified(call.func)
    if not qualified or ("." in qualified and not qualified.startswith((*_MODULES, *_OLD))):
        return None
    family = server_family(module, call.func)
    if family is None:
        return None
    bound = arguments(call, "address", "handler", "bind_and_activate")
    if bound is None or "address" not in bound:
        return None
    address = module.resolve(bound["address"])
    if not isinstance(address, ast.Tuple) or len(address.elts) < 2:
        return None
    host, port = address.elts[:2]
    handler = bound.get("handler")
    listener = Listener(
        framework="stdlib",
        form="server",
        transport="udp" if "UDP" in ancestry(module, call.func)[-1] else "tcp",
        call=call,
        port=port_key(module, port),
        port_node=port,
        host=host_in_family(module.constant(host), family == "AF_INET6"),
        host_node=host,
        factory=ast.unparse(handler) if handler is not None else "",
        factory_node=handler,
        rest=tuple(
            sorted((n, ast.unparse(v)) for n, v in bound.items() if n not in ("address", "handler"))
        ),
        proven=True,
        shared=handler is not None and is_stable(handler),
        options=bound,
    )
    place(module, listener, call)
    return listener


def class_of(module: Module, node: ast.expr) -> ast.ClassDef | None:
    """The class of this module that an expression names."""
    if not isinstance(node, ast.Name):
        return None
    found = [c for c in module.all(ast.ClassDef) if c.name == node.id]
    return found[0] if len(found) == 1 else None


def ancestry(module: Module, node: ast.expr) -> list[str]:
    """The names of a class and of what it is derived from, as far as this module says."""
    names, waiting = [], [node]
    for base in waiting[:20]:
        names.append(module.qualified(base))
        definition = class_of(module, base)
        if definition is not None and len(waiting) < 20:
            waiting.extend(definition.bases)
            names.extend(n for b in definition.bases for n in ancestry(module, b))
            break
    return names


def server_family(module: Module, node: ast.expr) -> str | None:
    """The address family of a server class, or None if it is no class of such servers."""
    for _ in range(10):
        qualified = module.qualified(node)
        if qualified.startswith((*_MODULES, *_OLD)):
            return "AF_INET" if qualified.endswith("Server") else None
        definition = class_of(module, node)
        if definition is None:
            return None
        for statement in definition.body:
            if isinstance(statement, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == "address_family"
                for target in statement.targets
            ):
                if not _is_server(module, definition):
                    return None
                return module.qualified(statement.value).rpartition(".")[2]
        servers = [base for base in definition.bases if _serves(module, base)]
        if not servers:
            return None
        node = servers[0]
    return None


def _serves(module: Module, node: ast.expr) -> bool:
    return any(
        name.startswith((*_MODULES, *_OLD)) and name.endswith("Server")
        for name in ancestry(module, node)
    )


def _is_server(module: Module, definition: ast.ClassDef) -> bool:
    return any(_serves(module, base) for base in definition.bases)
