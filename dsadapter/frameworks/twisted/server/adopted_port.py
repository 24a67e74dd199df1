"""Listening on a reactor whose port classes are its own: the generic, slower route.

The reactor adopts a listening socket of ours and accepts in its own way. The application and the
reactor meet through stand-ins, which show canonical addresses and leave all else, the interfaces
provided included, to the reactor's own transport and to the application's own protocol.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
)
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

from dsadapter.addressing import unmap
from dsadapter.addressing.sockaddr import unmap_sockaddr
from dsadapter.addressing.text import unmap_text
from dsadapter.frameworks.twisted.addresses import sockaddr_of
from dsadapter.frameworks.twisted.listening_port import ListeningPort, cannot_listen
from dsadapter.listener import Listener
from dsadapter.policy import ListenPolicy
from dsadapter.sockets.canonical import CanonicalSocket
from dsadapter.stand_in import StandIn


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
            sockets = self._life.open()
        self._ports = self._adopted(sockets)
        self._life.opened()

    def _adopted(self, sockets: Sequence[CanonicalSocket]) -> tuple[Any, ...]:
        """The reactor's own ports, which take duplicates of the sockets."""
        factory = _Factory(self.factory, self._life)
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


class _Factory(StandIn):
    """The application's factory, as the reactor's ports know it."""

    __slots__ = ("_life", "_listening")

    def __init__(self, factory: IProtocolFactory, life: Listener) -> None:
        super().__init__(factory)
        self._life = life
        self._listening = 0

    def buildProtocol(self, addr: Any) -> _Protocol | None:
        canonical = unmap(addr)
        protocol = self._original.buildProtocol(canonical)
        if protocol is None:
            self._life.unbuilt(sockaddr_of(canonical))
            return None
        return _Protocol(protocol, self._life)

    def doStart(self) -> None:
        self._original.doStart()
        self._listening += 1

    def doStop(self) -> None:
        """Every port says so when it has closed, on whatever occasion."""
        self._listening -= 1
        try:
            self._original.doStop()
        finally:
            if not self._listening:
                self._life.closed()


class _Protocol(StandIn):
    """The application's protocol, as the reactor's transport knows it."""

    __slots__ = ("_life", "_lost")

    def __init__(self, protocol: Any, life: Listener) -> None:
        super().__init__(protocol)
        self._life = life
        self._lost: Callable[[], None] | None = None

    def makeConnection(self, transport: Any) -> None:
        _unmap_log_prefix(transport)
        canonical = _Transport(transport, self)
        if self._life.hooks.connections is not None:
            peer, local = sockaddr_of(canonical.getPeer()), sockaddr_of(canonical.getHost())
            self._lost = self._life.accepted(peer, local)
        self._original.makeConnection(canonical)

    def connectionLost(self, reason: Failure) -> None:
        lost, self._lost = self._lost, None
        try:
            self._original.connectionLost(reason)
        finally:
            if lost is not None:
                lost()

    def replace(self, protocol: Any) -> None:
        """The application goes on with another protocol."""
        self._original = protocol


class _Transport(StandIn):
    """The reactor's transport, as the application's protocol knows it."""

    __slots__ = ("_protocol",)

    def __init__(self, transport: Any, protocol: _Protocol) -> None:
        super().__init__(transport)
        self._protocol = protocol

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "protocol":
            self._protocol.replace(value)
        else:
            super().__setattr__(name, value)

    def __repr__(self) -> str:
        return f"<{type(self._original).__name__} from {self.getPeer()}>"

    @property
    def protocol(self) -> Any:
        """The application's, which it may replace by assigning."""
        return self._protocol._original

    def getPeer(self) -> IAddress:
        peer: IAddress = unmap(self._original.getPeer())
        return peer

    def getHost(self) -> IAddress:
        host: IAddress = unmap(self._original.getHost())
        return host

    # Not of any interface, but applications take them from Twisted's own transports.

    @property
    def client(self) -> Any:
        return unmap_sockaddr(self._original.client)

    @property
    def hostname(self) -> Any:
        return unmap_text(self._original.hostname)


def _unmap_log_prefix(transport: Any) -> None:
    """Twisted's transports log as ``PROTOCOL,NUMBER,HOST``, from an attribute."""
    prefix = getattr(transport, "logstr", None)
    if isinstance(prefix, str):
        head, comma, host = prefix.rpartition(",")
        with contextlib.suppress(AttributeError, ValueError):
            transport.logstr = f"{head}{comma}{unmap_text(host)}"
