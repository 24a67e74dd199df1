"""asyncio's ways to listen, and those of what is built on it."""

from __future__ import annotations

import ast

from dsadapter.migration.addresses import Host, host_of, pairs
from dsadapter.migration.listeners.listener import (
    Listener,
    arguments,
    host_in,
    is_stable,
    place,
    port_key,
)
from dsadapter.migration.module import Module

_OWN = ("factory", "host", "port", "app", "runner")
_LOOPS = ("asyncio.get_running_loop", "asyncio.get_event_loop", "asyncio.new_event_loop")


def recognize(module: Module, call: ast.Call) -> Listener | None:
    """The listener that a call is, if it is asyncio's or aiohttp's."""
    qualified = module.qualified(call.func)
    last = call.func.attr if isinstance(call.func, ast.Attribute) else qualified.rpartition(".")[2]
    if qualified == "asyncio.start_server":
        return _listener(module, call, "start_server", "asyncio", "factory", proven=True)
    if last == "create_server" and isinstance(call.func, ast.Attribute):
        proven = _is_loop(module, call.func.value)
        if proven or "loop" in ast.unparse(call.func.value):
            return _listener(module, call, "create_server", "asyncio", "factory", proven=proven)
    if qualified.startswith("aiohttp.") and last == "run_app":
        return _listener(module, call, "run_app", "aiohttp", "app", proven=True)
    if qualified.startswith("aiohttp.") and last == "TCPSite":
        return _listener(module, call, "TCPSite", "aiohttp", "runner", proven=True)
    return None


def _is_loop(module: Module, node: ast.expr) -> bool:
    resolved = module.resolve(node)
    return isinstance(resolved, ast.Call) and module.qualified(resolved.func) in _LOOPS


def _listener(
    module: Module, call: ast.Call, form: str, framework: str, first: str, *, proven: bool
) -> Listener | None:
    names = (first,) if form == "run_app" else (first, "host", "port")
    bound = arguments(call, *names)
    if bound is None or "sock" in bound or first not in bound:
        return None
    if bound.get("port") is None and form in ("start_server", "create_server"):
        return None
    host = bound.get("host")
    listener = Listener(
        framework="asyncio" if framework == "asyncio" else "aiohttp",
        form=form,
        transport="tls" if "ssl" in bound else "tcp",
        call=call,
        port=port_key(module, bound.get("port")),
        port_node=bound.get("port"),
        host=_host(module, host),
        host_node=host,
        factory=ast.unparse(bound[first]),
        factory_node=bound[first],
        rest=tuple(sorted((n, ast.unparse(v)) for n, v in bound.items() if n not in _OWN)),
        proven=proven,
        # A function that makes protocols, or that serves a stream, is the same one twice.
        shared=is_stable(bound[first]) or isinstance(bound[first], ast.Lambda),
        options=bound,
    )
    place(module, listener, call)
    return listener


def _host(module: Module, node: ast.expr | None) -> Host:
    if node is not None and isinstance(elements := module.resolve(node), ast.List | ast.Tuple):
        constants = [module.constant(element) for element in elements.elts]
        hosts = [Host.UNKNOWN if c is ... else host_of(c, Host.BOTH) for c in constants]
        return Host.OTHER if len(hosts) != 1 or pairs(hosts) else hosts[0]
    return host_in(module, node, Host.BOTH)
