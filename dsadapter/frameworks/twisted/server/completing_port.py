"""A listening port on Twisted's reactor of Windows' completion ports."""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import Any

from twisted.internet.iocpreactor import iocpsupport
from twisted.internet.iocpreactor.const import (
    ERROR_IO_PENDING,
    ERROR_OPERATION_ABORTED,
    SO_UPDATE_ACCEPT_CONTEXT,
)
from twisted.python import log
from twisted.python.failure import Failure

from dsadapter.frameworks.twisted.completing import completing_server
from dsadapter.frameworks.twisted.other_socket import OtherSocket
from dsadapter.frameworks.twisted.server.stream_port import StreamPort
from dsadapter.sockets.canonical import ONE_CONNECTION, CanonicalSocket, family_number

_WinError: Any = getattr(ctypes, "WinError", OSError)
_PEER_GONE = {64, 1236}
"""ERROR_NETNAME_DELETED and ERROR_CONNECTION_ABORTED, what a completion port has for
WSAECONNRESET and WSAECONNABORTED."""


def _is_of_one(error: OSError) -> bool:
    """Whether an accept has failed for one connection, and the next may be fine."""
    return error.errno in ONE_CONNECTION or getattr(error, "winerror", None) in _PEER_GONE


class CompletingPort(StreamPort):
    """As :class:`~dsadapter.frameworks.twisted.server.stream_port.StreamPort`: each of its sockets
    has one ``AcceptEx`` under way, and the connections are the reactor's own."""

    transport = staticmethod(completing_server)  # type: ignore[assignment]
    reactor: Any
    _accepts: dict[socket.socket, _Accept]

    def startReading(self) -> None:
        """Accept connections, of every family that is served."""
        self._forgetAcceptingAgain()
        self.reactor.addActiveHandle(self)
        for sock in (self.socket, *(other.socket for other in self._others)):
            self._accepts[sock].begin()

    def stopReading(self) -> None:
        """Leave connections in the backlog, but for the one of each socket that the system has been
        asked for already: it waits for :meth:`startReading`."""
        self._forgetAcceptingAgain()
        for accept in self._accepts.values():
            accept.pause()

    def stopWriting(self) -> None:
        """It never writes."""

    def _open(self) -> tuple[CanonicalSocket, ...]:
        sockets = super()._open()
        try:
            for sock in sockets:
                self.reactor.registerHandle(sock.fileno())
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        self._accepts = {sock: _Accept(self, sock) for sock in sockets}
        return sockets

    def _unwatch(self, other: OtherSocket) -> None:
        """Closing is enough."""

    def connectionLost(self, reason: Failure) -> None:
        """Close the listening sockets."""
        self.reactor.removeActiveHandle(self)
        super().connectionLost(reason)
        for accept in self._accepts.values():
            accept.close()

    def accepted(self, sock: CanonicalSocket) -> None:
        """Serve a connection."""
        try:
            address = sock.getpeername()
        except OSError:
            # It has gone.
            sock.close()
            return
        try:
            self._serve(sock, address)
        except BaseException:
            # It is the application's; accepting goes on.
            log.deferr()

    def failed(self, error: OSError) -> None:
        """Accept again in a while."""
        self._waitOut(error)


class _Accept:
    """The accepts of one listening socket, one after the other."""

    def __init__(self, port: CompletingPort, listening: CanonicalSocket) -> None:
        self._port = port
        self._listening = listening
        self._under_way = False
        self._goes_on = False
        self._waits: CanonicalSocket | None = None
        # How the reactor knows who an event is for.
        self.getFileHandle = listening.fileno
        self.logPrefix = port.logPrefix

    def begin(self) -> None:
        """Accept until :meth:`pause`, what has been accepted since the last one first."""
        self._goes_on = True
        waits, self._waits = self._waits, None
        if waits is not None:
            self._port.accepted(waits)
        self._next()

    def pause(self) -> None:
        """Give the port nothing more."""
        self._goes_on = False

    def close(self) -> None:
        """The listening socket has been closed."""
        self.pause()
        if self._waits is not None:
            self._waits.close()

    def loseConnection(self, reason: Failure) -> None:
        """The reactor calls this for an error, which it has logged, of what it called."""
        self._port.connectionLost(reason)

    def _next(self) -> None:
        while self._goes_on and not self._under_way:
            try:
                self._begin_one()
            except OSError as error:
                if not _is_of_one(error):
                    # Begins again after a while.
                    self._port.failed(error)
                    return

    def _begin_one(self) -> None:
        listening = self._listening
        sock = CanonicalSocket(family_number(listening), socket.SOCK_STREAM, listening.proto)
        sock.setblocking(False)
        event = iocpsupport.Event(self._ended, self)
        # AcceptEx: both addresses, each with 16 bytes more than it has.
        event.buff = bytearray(2 * (iocpsupport.maxAddrLen(listening.fileno()) + 16))
        event.sock = sock
        code = iocpsupport.accept(listening.fileno(), sock.fileno(), event.buff, event)
        if code not in (0, ERROR_IO_PENDING):
            sock.close()
            raise _WinError(code)
        self._under_way = True

    def _ended(self, code: int, size: int, event: Any) -> None:
        self._under_way = False
        sock = event.sock
        if code or self._listening.fileno() == -1:
            sock.close()
            if code == ERROR_OPERATION_ABORTED or self._listening.fileno() == -1:
                return
            error = _WinError(code)
            if not _is_of_one(error):
                if self._goes_on:
                    self._port.failed(error)
                return
        elif self._updated(sock):
            if self._goes_on:
                self._port.accepted(sock)
            else:
                self._waits = sock
        self._next()

    def _updated(self, sock: CanonicalSocket) -> bool:
        """Have the accepted socket know its names; False if its peer has gone."""
        listening = struct.pack("P", self._listening.fileno())
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT, listening)
        except OSError:
            sock.close()
            return False
        return True
