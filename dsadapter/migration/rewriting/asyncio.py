"""asyncio's servers, rewritten to one dual-stack listener."""

from __future__ import annotations

import ast

from dsadapter.migration.findings import Edit, ReplaceExpression
from dsadapter.migration.listeners import Listener
from dsadapter.migration.module import Module
from dsadapter.migration.rewriting.adapters import ASYNCIO
from dsadapter.migration.rewriting.plan import Plan, importing

_READY = 'sock=dsadapter.sockets.listening.listening_socket("{host}", {port})'


def plan(module: Module, first: Listener, host: str = "::") -> Plan:
    """Rewrite a server to serve both families.

    :param host: what it listens on.
    """
    port = module.source(first.port_node) if first.port_node is not None else "port"
    if first.framework == "aiohttp":
        if first.form == "TCPSite":
            runner = module.source(first.options["runner"])
            ready = _READY.format(host=host, port=port).removeprefix("sock=")
            return Plan(f"web.SockSite({runner}, {ready})")
        return Plan(f"web.run_app(app, {_READY.format(host=host, port=port)})")
    factory = module.source(first.factory_node) if first.factory_node is not None else "factory"
    shown = f'{ASYNCIO}.{first.form}({factory}, "{host}", {port})'
    needed = importing(module, ASYNCIO, first.form)
    if needed is None or first.host_node is None or "family" in first.options:
        return Plan(shown)
    edits: list[Edit] = [ReplaceExpression(module.span(first.call.func), first.form), *needed]
    if module.constant(first.host_node) != host or not isinstance(first.host_node, ast.Constant):
        edits.append(ReplaceExpression(module.span(first.host_node), f'"{host}"'))
    return Plan(shown, tuple(edits), ASYNCIO)
