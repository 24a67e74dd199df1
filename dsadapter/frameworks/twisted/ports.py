"""Twisted's TCP port on a socket whose addresses are canonical."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory, IReadDescriptor
from twisted.logger import Logger
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.dispatch import ConnectionObservers
from dsadapter.errors import PluginError
from dsadapter.interfaces import IListener
from dsadapter.plugin import active_hooks
from dsadapter.policy import FALLBACKS, ListenMode, ListenPolicy
from dsadapter.records import Connection, Operation, Refusal
from dsadapter.sockets.pair import Listening, open_listening_sockets
from dsadapter.sockets.sharing import sharing_conflict

_Accept = Callable[[], tuple[socket.socket, SocketAddress]]

_SERVED_BY = {
    "pair": "two sockets, one for each address family",
    "ipv4": "IPv4 only",
    "ipv6": "IPv6 only",
}
# Windows' event loops break with more than one accept a turn; so says tcp.Port.
_ACCEPTS_ADAPT = os.name == "posix"


def warn_of_compromises(
    logger: Logger, policy: ListenPolicy, listening: Listening, conflict: str | None
) -> None:
    """Say what an operator would want to know of a listener that has opened.

    :param conflict: of :func:`~dsadapter.sockets.sharing.sharing_conflict`.
    """
    if listening.lack is not None:
        logger.warn(
            "{policy} is served by {what}, because no more can be had here ({reason}); choose "
            "with fallback={choices}",
            policy=policy,
            what=_SERVED_BY[listening.mode],
            reason=listening.lack.reason,
            choices="|".join(FALLBACKS),
        )
    if conflict is not None:
        logger.warn("{conflict}", conflict=conflict)


@implementer(IListener)
class StreamPort(tcp.Port):
    """A listening port for one :class:`~dsadapter.policy.ListenPolicy`.

    Everything but making the listening socket and accepting is ``tcp.Port``'s. Its transports are
    ``tcp.Server`` itself: the accepted socket's canonical names make every address that it shows.

    Where both families need a socket each, the second one is a reader of its own in the reactor,
    which starts, stops and closes with the port.
    """

    framework = "twisted"
    _log = Logger()

    def __init__(self, policy: ListenPolicy, factory: IProtocolFactory, reactor: Any) -> None:
        super().__init__(policy.port, factory, policy.backlog, policy.host, reactor)
        self.policy = policy
        self.mode: ListenMode = policy.mode
        self._addresses: tuple[SocketAddress, ...] = ()
        self._second: _SecondSocket | None = None
        self._opened = False

    def addresses(self) -> tuple[SocketAddress, ...]:
        """The canonical addresses of the listening sockets, as last bound; empty before that."""
        return self._addresses

    def startListening(self) -> None:
        """Open the listening sockets and begin accepting; a stopped port can be started again.

        :raises CannotListenError: with the reason in its text; nothing stays open.
        """
        policy = self.policy
        try:
            hooks = self._hooks = active_hooks()
        except PluginError as error:
            raise CannotListenError(policy.host, policy.port, error) from error
        conflict = sharing_conflict(policy)
        try:
            listening = open_listening_sockets(policy, hooks.before_bind)
        except OSError as error:
            raise CannotListenError(policy.host, policy.port, error) from error
        except PluginError as error:
            self._refused("listen", (policy.host, policy.port), error.plugin, str(error))
            raise CannotListenError(policy.host, policy.port, error) from error
        skt, *others = listening.sockets
        self._preexistingSocket = skt
        self._second = _SecondSocket(self, *others) if others else None
        try:
            super().startListening()
        except BaseException:
            self._preexistingSocket = self._second = None
            for opened in listening.sockets:
                opened.close()
            raise
        # tcp.Port leaves a socket that it was given without shutdown(); this one is its own.
        self._shouldShutdown = True
        self.addressFamily = skt.family
        self.mode = listening.mode
        self._addresses = tuple(opened.getsockname() for opened in listening.sockets)
        warn_of_compromises(self._log, policy, listening, conflict)
        self._opened = True
        if hooks.listener_opened is not None:
            hooks.listener_opened(self)

    def startReading(self) -> None:
        """Accept connections, of every family that is served."""
        super().startReading()  # type: ignore[no-untyped-call]
        if self._second is not None:
            self.reactor.addReader(self._second)

    def stopReading(self) -> None:
        """Leave connections in the backlog."""
        super().stopReading()  # type: ignore[no-untyped-call]
        if self._second is not None:
            self.reactor.removeReader(self._second)

    def getHost(self) -> IPv4Address | IPv6Address:
        """The address of the listening socket; of two, the IPv4 one, with the port of both."""
        return self._buildAddr(tcp._getsockname(self.socket))

    def connectionLost(self, reason: Failure) -> None:
        """Close the listening sockets."""
        if not self.connected:
            # A reactor that ends tells each of its readers.
            return
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        second, self._second = self._second, None
        if second is not None:
            second.close()
        opened, self._opened = self._opened, False
        if opened and self._hooks.listener_closed is not None:
            self._hooks.listener_closed(self)

    def doRead(self, listening: socket.socket | None = None) -> None:
        """Accept connections: ``tcp.Port.doRead`` without its costs.

        The number of accepts adapts, and errors are dealt with, as there.

        :param listening: which of the port's sockets is ready; None for the first.
        """
        limit = self.numberAccepts if _ACCEPTS_ADAPT else 1
        accepted = 0
        accept = (listening or self.socket).accept
        try:
            while accepted < limit:
                try:
                    skt, address = accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    accepted += self._acceptAfter(error, accept, limit - accepted)
                    break
                accepted += 1
                self._serve(skt, address)
            if accepted == self.numberAccepts:
                self.numberAccepts += 20
            else:
                self.numberAccepts = max(1, accepted)
        except BaseException:
            log.deferr()

    def _acceptAfter(self, error: OSError, accept: _Accept, limit: int) -> int:
        """Go on with Twisted's own accept loop from an accept that failed: EMFILE recovery,
        EPERM, ECONNABORTED. Its log events are buffered, because an observer might take the
        descriptor that EMFILE recovery has just given up."""
        accepted = 0
        listener = _FailedListener(error, accept)
        with tcp._BuffersLogs(self._logger.namespace, self._logger.observer) as logger:
            for skt, address in tcp._accept(logger, range(limit), listener, tcp._reservedFD):
                accepted += 1
                self._serve(skt, address)
        return accepted

    def _serve(self, skt: socket.socket, address: SocketAddress) -> None:
        if len(address) == 4 and address[3]:
            # Only a scoped address has more to it than its text: the interface name.
            address = tcp._getrealname(address)
        try:
            protocol = self.factory.buildProtocol(self._buildAddr(address))  # type: ignore[union-attr]
        except BaseException:
            skt.close()
            raise
        if protocol is None:
            skt.close()
            self._refused("accept", address, None, "the application's factory built no protocol")
            return
        session = self.sessionno
        self.sessionno = session + 1
        transport = self.transport(skt, protocol, address, self, session, self.reactor)
        observers = self._hooks.connections
        if observers is not None:
            self._observe(transport, address, skt.getsockname(), observers)
        protocol.makeConnection(transport)

    def _observe(
        self,
        transport: Any,
        peer: SocketAddress,
        local: SocketAddress,
        observers: ConnectionObservers,
    ) -> None:
        made, lost = observers
        connection = Connection(self.framework, self, peer, local)
        if lost is not None:
            unobserved = transport.connectionLost

            def observedConnectionLost(reason: Failure) -> None:
                del transport.connectionLost
                try:
                    unobserved(reason)
                finally:
                    lost(connection)

            # On the object: its class is for the application to choose.
            transport.connectionLost = observedConnectionLost
        if made is not None:
            made(connection)

    def _refused(
        self, operation: Operation, address: SocketAddress, plugin: str | None, reason: str
    ) -> None:
        if self._hooks.operation_refused is not None:
            self._hooks.operation_refused(
                Refusal(self.framework, operation, address, plugin, reason)
            )

    def _buildAddr(self, address: SocketAddress) -> IPv4Address | IPv6Address:
        return (IPv4Address if len(address) == 2 else IPv6Address)("TCP", *address)


class _FailedListener:
    """A listening socket whose next accept fails with an error that has been met already."""

    def __init__(self, error: OSError, accept: _Accept) -> None:
        self._error: OSError | None = error
        self._accept = accept

    def accept(self) -> tuple[socket.socket, SocketAddress]:
        error, self._error = self._error, None
        if error is not None:
            raise error
        return self._accept()


@implementer(IReadDescriptor)
class _SecondSocket:
    """The second listening socket of a port, in the reactor beside the port."""

    def __init__(self, port: StreamPort, listening: socket.socket) -> None:
        self._port = port
        self._socket = listening

    def fileno(self) -> int:
        return self._socket.fileno()

    def doRead(self) -> None:
        self._port.doRead(self._socket)

    def connectionLost(self, reason: Failure) -> None:
        # Half a listener is none.
        self._port.stopReading()
        self._port.connectionLost(reason)

    def logPrefix(self) -> str:
        prefix: str = self._port.logPrefix()  # type: ignore[no-untyped-call]
        return prefix

    def close(self) -> None:
        self._port.reactor.removeReader(self)
        self._socket.close()
