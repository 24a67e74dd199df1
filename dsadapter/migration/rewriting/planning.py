"""Which plan is for which listeners."""

from __future__ import annotations

from dsadapter.migration.addresses import Host
from dsadapter.migration.listeners import Listener
from dsadapter.migration.module import Module
from dsadapter.migration.rewriting import asyncio, stdlib, twisted
from dsadapter.migration.rewriting.plan import Plan, removal


def merge(module: Module, first: Listener, second: Listener) -> Plan:
    """Rewrite two listeners, one a family, to one."""
    loopback = first.host in (Host.LOOPBACK4, Host.LOOPBACK6)
    if first.framework == "stdlib":
        four, six = (second, first) if first.host is Host.ANY6 else (first, second)
        if loopback:
            return Plan("one server on 'localhost', with dsadapter's DualStackMixin")
        return stdlib.plan(module, four, six)
    if first.framework == "twisted":
        plan = twisted.plan(module, first, second, "localhost" if loopback else "")
    else:
        plan = asyncio.plan(module, first, "localhost" if loopback else "::")
    if not plan.edits:
        return plan
    return plan._replace(edits=(*plan.edits, *removal(module, second)))


def widen(module: Module, listener: Listener, host: str = "::") -> Plan:
    """Rewrite one listener to serve both families."""
    if listener.framework == "twisted":
        return twisted.plan(module, listener, None, "" if host == "::" else host)
    if listener.framework == "stdlib":
        return Plan(f"a server class with dsadapter's DualStackMixin, on {host!r}")
    return asyncio.plan(module, listener, host)
