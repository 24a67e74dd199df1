"""Twisted's TCP port on a socket whose addresses are canonical."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet import tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.dispatch import ConnectionObservers
from dsadapter.errors import PluginError
from dsadapter.interfaces import IListener
from dsadapter.plugin import active_hooks
from dsadapter.policy import ListenMode, ListenPolicy
from dsadapter.records import Connection, Operation, Refusal
from dsadapter.sockets.listening import open_listening_socket

# Windows' event loops break with more than one accept a turn; so says tcp.Port.
_ACCEPTS_ADAPT = os.name == "posix"


@implementer(IListener)
class StreamPort(tcp.Port):
    """A listening port for one :class:`~dsadapter.policy.ListenPolicy`.

    Everything but making the listening socket and accepting is ``tcp.Port``'s. Its transports are
    ``tcp.Server`` itself: the accepted socket's canonical names make every address that it shows.
    """

    framework = "twisted"

    def __init__(self, policy: ListenPolicy, factory: IProtocolFactory, reactor: Any) -> None:
        super().__init__(policy.port, factory, policy.backlog, policy.host, reactor)
        self.policy = policy
        self._addresses: tuple[SocketAddress, ...] = ()
        self._opened = False

    @property
    def mode(self) -> ListenMode:
        """Which address families are served."""
        return self.policy.mode

    def addresses(self) -> tuple[SocketAddress, ...]:
        """The canonical address of the listening socket, as last bound; empty before that."""
        return self._addresses

    def startListening(self) -> None:
        """Open the listening socket and begin accepting; a stopped port can be started again.

        :raises CannotListenError: with the reason in its text; nothing stays open.
        """
        policy = self.policy
        try:
            hooks = self._hooks = active_hooks()
        except PluginError as error:
            raise CannotListenError(policy.host, policy.port, error) from error
        try:
            skt = open_listening_socket(policy, hooks.before_bind)
        except OSError as error:
            raise CannotListenError(policy.host, policy.port, error) from error
        except PluginError as error:
            self._refused("listen", (policy.host, policy.port), error.plugin, str(error))
            raise CannotListenError(policy.host, policy.port, error) from error
        self._preexistingSocket = skt
        try:
            super().startListening()
        except BaseException:
            self._preexistingSocket = None
            skt.close()
            raise
        # tcp.Port leaves a socket that it was given without shutdown(); this one is its own.
        self._shouldShutdown = True
        self._addresses = (skt.getsockname(),)
        self._opened = True
        if hooks.listener_opened is not None:
            hooks.listener_opened(self)

    def connectionLost(self, reason: Failure) -> None:
        """Close the listening socket."""
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        opened, self._opened = self._opened, False
        if opened and self._hooks.listener_closed is not None:
            self._hooks.listener_closed(self)

    def doRead(self) -> None:
        """Accept connections: ``tcp.Port.doRead`` without its costs.

        The number of accepts adapts, and errors are dealt with, as there.
        """
        limit = self.numberAccepts if _ACCEPTS_ADAPT else 1
        accepted = 0
        accept = self.socket.accept
        try:
            while accepted < limit:
                try:
                    skt, address = accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    accepted += self._acceptAfter(error, limit - accepted)
                    break
                accepted += 1
                self._serve(skt, address)
            if accepted == self.numberAccepts:
                self.numberAccepts += 20
            else:
                self.numberAccepts = max(1, accepted)
        except BaseException:
            log.deferr()

    def _acceptAfter(self, error: OSError, limit: int) -> int:
        """Go on with Twisted's own accept loop from an accept that failed: EMFILE recovery,
        EPERM, ECONNABORTED. Its log events are buffered, because an observer might take the
        descriptor that EMFILE recovery has just given up."""
        accepted = 0
        listener = _FailedListener(error, self.socket)
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

    def __init__(self, error: OSError, listener: socket.socket) -> None:
        self._error: OSError | None = error
        self._listener = listener

    def accept(self) -> tuple[socket.socket, SocketAddress]:
        error, self._error = self._error, None
        if error is not None:
            raise error
        return self._listener.accept()
