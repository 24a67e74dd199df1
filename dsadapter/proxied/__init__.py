"""Connections that proxies pass on with a PROXY header, before a framework has them.

A framework contributes how it waits, and gives what it has accepted to a :class:`ProxyGate`. One
that has bytes and no socket asks the gate whether it ``admits`` them, and feeds an
:class:`Arrival`.
"""

from dsadapter.proxied.arrival import Arrival
from dsadapter.proxied.gate import ProxyCounters, ProxyGate

__all__ = ["Arrival", "ProxyCounters", "ProxyGate"]
