"""A reactor with port and transport classes of its own, nothing of which is Twisted's ``tcp``.

It shows the addresses that the kernel has, and adopts listening sockets: all that a third-party
reactor needs to provide ``IReactorSocket``'s part for streams.
"""

from __future__ import annotations

import selectors
import socket
import time
from typing import Any

from twisted.internet import error
from twisted.internet._newtls import ConnectionMixin
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IListeningPort,
    IReactorFDSet,
    IReactorSocket,
    ITCPTransport,
)
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

from support.reactors import Driven

_DONE = Failure(error.ConnectionDone())


def _address(name: tuple[Any, ...]) -> IPv4Address | IPv6Address:
    return IPv4Address("TCP", *name) if len(name) == 2 else IPv6Address("TCP", *name)


@implementer(ITCPTransport)
class ForeignTransport(ConnectionMixin, FileDescriptor):
    """A connection."""

    TLS = False
    _tlsClientDefault = False  # noqa: N815

    def __init__(self, reactor: Any, connection: socket.socket, protocol: Any) -> None:
        super().__init__(reactor)
        self._socket = connection
        self.protocol = protocol
        self._peer = _address(connection.getpeername())
        self._host = _address(connection.getsockname())
        self.client = connection.getpeername()
        self.hostname = self._peer.host
        self.logstr = f"{type(self).__name__},0,{self._peer.host}"
        self.connected = 1

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return self.logstr

    def getPeer(self) -> Any:
        return self._peer

    def getHost(self) -> Any:
        return self._host

    def getHandle(self) -> socket.socket:
        return self._socket

    def doRead(self) -> Any:
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return None
        except OSError as problem:
            return error.ConnectionLost(str(problem))
        if data:
            return self.protocol.dataReceived(data)
        half = IHalfCloseableProtocol(self.protocol, None)
        if half is None:
            return _DONE.value
        self.stopReading()
        half.readConnectionLost()
        return None

    def writeSomeData(self, data: bytes) -> Any:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as problem:
            return error.ConnectionLost(str(problem))

    def readConnectionLost(self, reason: Failure) -> None:
        self.connectionLost(reason)

    def connectionLost(self, reason: Failure) -> None:
        if not self.connected:
            return
        super().connectionLost(reason)
        self._socket.close()
        protocol, self.protocol = self.protocol, None
        protocol.connectionLost(reason)

    def abortConnection(self) -> None:
        self.reactor.callLater(0, self.connectionLost, Failure(error.ConnectionAborted()))

    def loseWriteConnection(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def getTcpKeepAlive(self) -> bool:
        return bool(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)

    def getTcpNoDelay(self) -> bool:
        return bool(self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)


@implementer(IListeningPort)
class ForeignPort(FileDescriptor):
    """A listening socket that was adopted."""

    def __init__(self, reactor: Any, listener: socket.socket, factory: Any) -> None:
        super().__init__(reactor)
        self._socket = listener
        self.factory = factory

    def fileno(self) -> int:
        return self._socket.fileno()

    def startListening(self) -> None:
        self.factory.doStart()
        self.connected = 1
        self.startReading()

    def stopListening(self) -> Deferred[None]:
        self.connectionLost(_DONE)
        return succeed(None)

    def getHost(self) -> Any:
        return _address(self._socket.getsockname())

    def doRead(self) -> None:
        connection, name = self._socket.accept()
        connection.setblocking(False)
        protocol = self.factory.buildProtocol(_address(name))
        if protocol is None:
            connection.close()
            return
        transport = ForeignTransport(self.reactor, connection, protocol)
        transport.startReading()
        protocol.makeConnection(transport)

    def connectionLost(self, reason: Failure) -> None:
        if not self.connected:
            return
        super().connectionLost(reason)
        self._socket.close()
        self.factory.doStop()


@implementer(IReactorFDSet, IReactorSocket)
class ForeignReactor(Driven, ReactorBase):
    """Runs on the standard library's ``selectors``; one a test, driven by it."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        super().__init__()

    def installWaker(self) -> None:
        """Nothing wakes a reactor that one thread drives."""

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        duplicate = socket.dup(fileDescriptor)
        try:
            port = ForeignPort(self, socket.socket(fileno=duplicate), factory)
            port.startListening()
        except BaseException:
            port._socket.close()
            raise
        return port

    def adoptStreamConnection(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        raise NotImplementedError

    def adoptDatagramPort(
        self, fileDescriptor: int, addressFamily: int, protocol: Any, maxPacketSize: int = 8192
    ) -> Any:
        raise NotImplementedError

    def _events(self, thing: Any) -> int:
        key = self._selector.get_map().get(thing)
        return 0 if key is None else key.events

    def _watch(self, thing: Any, events: int) -> None:
        before = self._events(thing)
        if before and events:
            self._selector.modify(thing, events)
        elif events:
            self._selector.register(thing, events)
        elif before:
            self._selector.unregister(thing)

    def addReader(self, reader: Any) -> None:
        self._watch(reader, self._events(reader) | selectors.EVENT_READ)

    def addWriter(self, writer: Any) -> None:
        self._watch(writer, self._events(writer) | selectors.EVENT_WRITE)

    def removeReader(self, reader: Any) -> None:
        self._watch(reader, self._events(reader) & ~selectors.EVENT_READ)

    def removeWriter(self, writer: Any) -> None:
        self._watch(writer, self._events(writer) & ~selectors.EVENT_WRITE)

    def removeAll(self) -> list[Any]:
        things = [key.fileobj for key in self._selector.get_map().values()]
        for thing in things:
            self._selector.unregister(thing)
        return things

    def _with(self, event: int) -> list[Any]:
        return [k.fileobj for k in self._selector.get_map().values() if k.events & event]

    def getReaders(self) -> list[Any]:
        return self._with(selectors.EVENT_READ)

    def getWriters(self) -> list[Any]:
        return self._with(selectors.EVENT_WRITE)

    def doIteration(self, timeout: float | None) -> None:
        if not self._selector.get_map():
            # Windows has no select of nothing.
            time.sleep(timeout or 0)
            return
        for key, events in self._selector.select(timeout):
            for event, method in (
                (selectors.EVENT_READ, "doRead"),
                (selectors.EVENT_WRITE, "doWrite"),
            ):
                if events & event and key.fileobj.fileno() != -1:
                    log.callWithLogger(key.fileobj, self._turn, key.fileobj, method)

    def _turn(self, thing: Any, method: str) -> None:
        try:
            why = getattr(thing, method)()
        except BaseException:
            log.err()
            why = error.ConnectionFdescWentAway()
        if why:
            self.removeReader(thing)
            self.removeWriter(thing)
            thing.connectionLost(Failure(why))

    def close(self) -> None:
        self.disconnectAll()
        for call in self.getDelayedCalls():
            call.cancel()
        self._selector.close()
        if self.threadpool is not None:
            self.threadpool.stop()
