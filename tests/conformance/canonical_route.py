"""Twisted's tests of TCP and TLS, unmodified, on reactors whose ``listenTCP`` goes through a
``CanonicalServerEndpoint`` around Twisted's own endpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import reactor_route
from routing import routed
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.python.failure import Failure

from dsadapter.frameworks.twisted import CanonicalServerEndpoint


class _Inner:
    """What Twisted's endpoint takes for a reactor, so that it does not come here again."""

    def __init__(self, reactor: Any, listen: Any) -> None:
        self.reactor = reactor
        self.listenTCP = listen


class _Routed:
    listened: Callable[[str], None]

    def listenTCP(
        self, port: Any, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        inner = _Inner(self, super().listenTCP)  # type: ignore[misc]
        self.listened("dsadapter")
        kind = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
        endpoint = kind(inner, port, backlog, interface)
        outcomes: list[Any] = []
        CanonicalServerEndpoint(endpoint).listen(factory).addBoth(outcomes.append)
        [outcome] = outcomes
        if isinstance(outcome, Failure):
            outcome.raiseException()
        return outcome


globals().update(routed(_Routed))


def cases(reactor: str, listened: Callable[[str], None]) -> list[type[Any]]:
    _Routed.listened = staticmethod(listened)
    return reactor_route.cases_on(f"{__name__}.{reactor}")
