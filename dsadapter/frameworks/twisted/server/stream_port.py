"""Twisted's TCP port on a socket whose addresses are canonical."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from twisted.internet import tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocolFactory
from twisted.python import log
from twisted.python.failure import Failure

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.frameworks.twisted import private
from dsadapter.frameworks.twisted.addresses import stream_address
from dsadapter.frameworks.twisted.listening_port import ListeningPort, cannot_listen
from dsadapter.frameworks.twisted.other_socket import OtherSocket
from dsadapter.frameworks.twisted.reactor_waiting import waiting_of
from dsadapter.listener import Told
from dsadapter.policy import ListenPolicy
from dsadapter.sockets.binding import is_listening
from dsadapter.sockets.canonical import ONE_CONNECTION, CanonicalSocket, take_ipv4_form
from dsadapter.sockets.failing_accepts import ACCEPT_AGAIN
from dsadapter.sockets.ifaddrs import zoned

_Accept = Callable[[], tuple[socket.socket, SocketAddress]]

# Windows' event loops break with more than one accept a turn; so says tcp.Port.
_ACCEPTS_ADAPT = os.name == "posix"


class StreamPort(ListeningPort[ListenPolicy], tcp.Port):
    """A listening port for one :class:`~dsadapter.policy.ListenPolicy`.

    Everything but making the listening socket and accepting is ``tcp.Port``'s. Its transports are
    ``tcp.Server`` itself: the accepted socket's canonical names make every address that it shows.

    Where there is more than one socket, each of the others is a reader of its own in the reactor,
    which starts, stops and closes with the port.
    """

    def __init__(self, policy: ListenPolicy, factory: IProtocolFactory, reactor: Any) -> None:
        super().__init__(policy.port, factory, policy.backlog, policy.host, reactor)
        self._settle(policy)
        self._native = policy.native_ipv4
        self._others: tuple[OtherSocket, ...] = ()
        if policy.proxy_from is not None:
            # Not every server is behind a proxy; the endpoint has imported it.
            from dsadapter.proxied import ProxyGate

            self._gate = ProxyGate(self._life, waiting_of(reactor), self._passed)
        self._acceptingAgain: Any = None

    def startListening(self) -> None:
        """Open the listening sockets and begin accepting; a stopped port can be started again.

        :raises CannotListenError: with the reason in its text; nothing stays open.
        """
        with cannot_listen(self.policy):
            sockets = self._open()
        skt, *others = sockets
        self._preexistingSocket = skt
        self._others = tuple(
            OtherSocket(self, other, partial(self.doRead, other)) for other in others
        )
        try:
            super().startListening()
        except BaseException:
            self._preexistingSocket = None
            if self.connected:
                # The factory has started, and a socket may be with the reactor.
                self._endQuietly()
            self._others = ()
            for opened in sockets:
                opened.close()
            raise
        # tcp.Port leaves a socket that it was given without shutdown(); this one is its own, unless
        # another process goes on with it.
        self._shouldShutdown = not self.policy.inherited
        self.addressFamily = skt.family
        self._life.opened()

    def _open(self) -> tuple[CanonicalSocket, ...]:
        return self._life.open(reads_headers=True)

    def startReading(self) -> None:
        """Accept connections, of every family that is served."""
        self._forgetAcceptingAgain()
        super().startReading()  # type: ignore[no-untyped-call]
        for other in self._others:
            self.reactor.addReader(other)

    def stopReading(self) -> None:
        """Leave connections in the backlog."""
        self._forgetAcceptingAgain()
        super().stopReading()  # type: ignore[no-untyped-call]
        for other in self._others:
            self.reactor.removeReader(other)

    def getHost(self) -> IPv4Address | IPv6Address:
        """The address of the listening socket; of several, the first, with the port of all."""
        return self._buildAddr(zoned(self.socket.getsockname()))

    def connectionLost(self, reason: Failure) -> None:
        """Close the listening sockets, unless an event is taken for this port's that is not.

        What a reactor has polled for a socket that was closed in the same turn is told to the next
        owner of its number.
        """
        if not self.connected:
            # A reactor that ends tells each of its readers.
            return
        if not self.disconnecting and reason.check(ConnectionDone) and self._listens():
            self.startReading()
            return
        self._forgetAcceptingAgain()
        if self._gate is not None:
            self._gate.close()
        others, self._others = self._others, ()
        try:
            super().connectionLost(reason)  # type: ignore[no-untyped-call]
        finally:
            for other in others:
                self._unwatch(other)
                other.socket.close()
            self._life.closed()

    def _unwatch(self, other: OtherSocket) -> None:
        self.reactor.removeReader(other)

    def _listens(self) -> bool:
        sockets = [self.socket, *(other.socket for other in self._others)]
        return all(map(is_listening, sockets))

    def _endQuietly(self) -> None:
        try:
            self.connectionLost(Failure(ConnectionLost()))
        except BaseException:
            log.err()

    def doRead(self, listening: socket.socket | None = None) -> None:
        """Accept connections: ``tcp.Port.doRead`` without its costs.

        The number of accepts adapts, and errors are dealt with, as there.

        :param listening: which of the port's sockets is ready; None for the first.
        """
        limit = self.numberAccepts if _ACCEPTS_ADAPT else 1
        accepted = 0
        ready = listening or self.socket
        accept = ready.acceptor() if isinstance(ready, CanonicalSocket) else ready.accept
        serve = self._serve if self._native or self._gate is not None else self._build
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
                serve(skt, address)
            if accepted == self.numberAccepts:
                self.numberAccepts += 20
            else:
                self.numberAccepts = max(1, accepted)
        except BaseException:
            log.deferr()

    def _acceptAfter(self, error: OSError, accept: _Accept, limit: int) -> int:
        """Go on with Twisted's own accept loop from an accept that failed: EMFILE recovery, and
        what it logs of other errors. Its log events are buffered, because an observer might take
        the descriptor that EMFILE recovery has just given up."""
        recovery = private.ACCEPT_RECOVERY
        # On Windows Twisted's loop knows of no connection that fails alone, and logs a traceback.
        alone = not _ACCEPTS_ADAPT and error.errno in ONE_CONNECTION
        if recovery is None or alone:
            self._waitOut(error)
            return 0
        accepted = 0
        listener = _FailedListener(error, accept)
        reserved = recovery.reserved_descriptor
        if error.errno != errno.EMFILE or not reserved.available():
            # There is nothing that it recovers from: it would accept in every turn, in vain.
            self._waitOut(error)
        with recovery.buffers_logs(self._logger.namespace, self._logger.observer) as logger:
            for skt, address in recovery.accept(logger, range(limit), listener, reserved):
                accepted += 1
                self._serve(skt, address)
        return accepted

    def _waitOut(self, error: OSError) -> None:
        """Accept again in a while; at once where only that one connection has failed."""
        if error.errno in ONE_CONNECTION:
            return
        log.msg(f"{self} accepts again in {ACCEPT_AGAIN:g} s: {error.strerror}")
        self.stopReading()
        reactor: Any = self.reactor
        self._acceptingAgain = reactor.callLater(ACCEPT_AGAIN, self.startReading)

    def _forgetAcceptingAgain(self) -> None:
        call, self._acceptingAgain = self._acceptingAgain, None
        if call is not None and call.active():
            call.cancel()

    def _serve(self, skt: socket.socket, address: SocketAddress) -> None:
        if self._native:
            take_ipv4_form(skt)
        if self._gate is None:
            self._build(skt, address)
        else:
            self._gate.accepted(cast("CanonicalSocket", skt), zoned(address))

    def _passed(
        self,
        skt: CanonicalSocket,
        peer: SocketAddress,
        local: SocketAddress,
        proxy: SocketAddress | None,
    ) -> None:
        from dsadapter.proxied.proxied_socket import ProxiedSocket, proxied

        try:
            if proxy is not None:
                skt = proxied(skt, peer, local, kind=ProxiedSocket)
            self._build(skt, peer, local, proxy)
        except BaseException:
            # It is the application's; accepting goes on.
            log.err()

    def _build(
        self,
        skt: socket.socket,
        address: SocketAddress,
        local: SocketAddress | None = None,
        proxy: SocketAddress | None = None,
    ) -> None:
        """Have the application build a protocol for a connection.

        :param local: where the client connected to, if that is not what the kernel says.
        :param proxy: whose header has said both.
        """
        if len(address) == 4 and address[3]:
            # Only a scoped address has more to it than its text: the interface name.
            address = zoned(address)
        try:
            protocol = self.factory.buildProtocol(self._buildAddr(address))  # type: ignore[union-attr]
        except BaseException:
            skt.close()
            raise
        if protocol is None:
            skt.close()
            self._life.unbuilt(address)
            return
        session = self.sessionno
        self.sessionno = session + 1
        transport = self.transport(skt, protocol, address, self, session, self.reactor)
        if local is not None and len(local) != len(address):
            # tcp.Server shows both ends as one family's; a proxy may have one of each.
            transport.getHost = partial(self._buildAddr, local)  # type: ignore[method-assign]
        if self._life.hooks.connections is not None:
            told = self._life.accepted(address, local or skt.getsockname, proxy)
            if told is not None:
                # On the object: its class is for the application to choose.
                transport.connectionLost = _Ending(transport, told)  # type: ignore[method-assign]
        protocol.makeConnection(transport)

    _buildAddr = staticmethod(stream_address)


class _Ending:
    """``connectionLost`` of a transport whose end is told to observers, after its application."""

    __slots__ = ("_told", "_transport")

    def __init__(self, transport: Any, told: Told) -> None:
        self._transport = transport
        self._told = told

    def __call__(self, reason: Failure) -> None:
        transport, told = self._transport, self._told
        del transport.connectionLost
        sock = getattr(transport, "socket", None)
        if isinstance(reason.value, ConnectionAborted) or not isinstance(sock, CanonicalSocket):
            # To close it is what resets the connection, which waits for nobody.
            told.closing()
            sock = None
        else:
            # Twisted shuts the connection down and closes before it tells the application.
            sock.hold()
        try:
            transport.connectionLost(reason)
        finally:
            try:
                told()
            finally:
                if sock is not None:
                    sock.release()


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
