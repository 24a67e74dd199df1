"""``IReactorTCP.listenTCP`` in terms of the endpoint under test."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.python.failure import Failure

from dsadapter.frameworks.twisted import DualStackServerEndpoint


def listen(
    reactor: Any, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
) -> IListeningPort:
    """The port of an endpoint, or the exception that it failed with, at once."""
    outcomes: list[Any] = []
    DualStackServerEndpoint(reactor, port, interface=interface, backlog=backlog).listen(
        factory
    ).addBoth(outcomes.append)
    [outcome] = outcomes
    if isinstance(outcome, Failure):
        outcome.raiseException()
    return outcome
