"""Listening on a reactor whose port classes are its own: the generic, slower route.

The reactor adopts a listening socket of ours and accepts in its own way. The application and the
reactor meet through stand-ins, which show canonical addresses and leave all else, the interfaces
provided included, to the reactor's own transport and to the application's own protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
)
from twisted.python import log
from zope.interface import implementer

from dsadapter.addressing import unmap
from dsadapter.frameworks.twisted.listening_port import ListeningPort, cannot_listen
from dsadapter.frameworks.twisted.reactor_waiting import ReactorWaiting
from dsadapter.frameworks.twisted.server.stand_ins import AdoptedFactory
from dsadapter.policy import ListenPolicy
from dsadapter.proxied import ProxyGate
from dsadapter.sockets.canonical import CanonicalSocket


@implementer(IListeningPort)
class AdoptedPort(ListeningPort[ListenPolicy]):
    """A listening port for one :class:`~dsadapter.policy.ListenPolicy`, around the port that the
    reactor has made of the listening socket, or the two of a pair.

    What it does not define itself is the reactor's (first) port's.

    :param reactor: provides ``IReactorSocket``.
    """

    _ports: tuple[Any, ...] = ()

    def __init__(self, policy: ListenPolicy, factory: IProtocolFactory, reactor: Any) -> None:
        self._settle(policy)
        self.factory = factory
        self._reactor = reactor
        if policy.proxy_from is not None:
            self._gate = ProxyGate(self._life, ReactorWaiting(reactor), _never)

    def __getattr__(self, name: str) -> Any:
        if not self._ports:
            raise AttributeError(f"a port that is not listening has no {name!r}")
        return getattr(self._ports[0], name)

    def __repr__(self) -> str:
        reactor = type(self._reactor).__name__
        return f"<{type(self).__name__} {self._life} ({self.mode}) on {reactor}>"

    def getHost(self) -> IAddress:
        """The canonical address that is listened on; of two, the IPv4 one."""
        host: IAddress = unmap(self.__getattr__("getHost")())
        return host

    def startListening(self) -> None:
        """Open the listening sockets and have them adopted; a stopped port can be started again.

        :raises CannotListenError: with the reason in its text; nothing stays open.
        """
        with cannot_listen(self.policy):
            sockets = self._life.open(reads_headers=True)
        self._ports = self._adopted(sockets)
        self._life.opened()

    def _adopted(self, sockets: Sequence[CanonicalSocket]) -> tuple[Any, ...]:
        """The reactor's own ports, which take duplicates of the sockets."""
        factory = AdoptedFactory(self.factory, self._life, self._gate)
        adopted: list[Any] = []
        try:
            for skt in sockets:
                adopted.append(self._reactor.adoptStreamPort(skt.fileno(), skt.family, factory))
        except BaseException:
            for port in adopted:
                port.stopListening()
            raise
        finally:
            for skt in sockets:
                skt.close()
        return tuple(adopted)

    def stopListening(self) -> Deferred[None]:
        """Close the listening sockets; connections live on.

        :returns: a Deferred that fires when all are closed, with what the first of them failed
            with if one did.
        """
        stopping = [maybeDeferred(port.stopListening) for port in self._ports]
        return DeferredList(stopping, consumeErrors=True).addCallback(_first_failure)


def _first_failure(outcomes: list[tuple[bool, Any]]) -> Any:
    failures = [outcome for succeeded, outcome in outcomes if not succeeded]
    for failure in failures[1:]:
        log.err(failure)
    return failures[0] if failures else None


def _never(*_: Any) -> NoReturn:
    raise AssertionError("the reactor accepts for itself")
