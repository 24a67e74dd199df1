"""How Twisted's reactors wait."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from dsadapter.frameworks.twisted.reactors import completes

if TYPE_CHECKING:
    # Servers do without what connects.
    from dsadapter.connector.waiting import Cancellable, Ready


class ReactorWaiting:
    """A reactor as :class:`~dsadapter.connector.waiting.Waiting` and
    :class:`~dsadapter.proxied.gate.HeaderWaiting` have it."""

    __slots__ = ("_reactor", "call_later", "now")

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.now: Callable[[], float] = reactor.seconds
        self.call_later: Callable[[float, Callable[[], object]], Cancellable] = reactor.callLater

    def when_writable(self, sock: socket.socket, ready: Ready) -> Cancellable:
        """Watch a socket; what the reactor raises comes out."""
        return _Writable(sock, self._reactor, ready)

    def when_readable(self, sock: socket.socket, ready: Ready) -> Cancellable:
        """Watch a socket; what the reactor raises comes out."""
        return _Readable(sock, self._reactor, ready)


def waiting_of(reactor: Any) -> ReactorWaiting:
    """How a reactor waits: it watches descriptors, or has completion ports."""
    if completes(reactor):
        from dsadapter.frameworks.twisted.completing import CompletingWaiting

        return CompletingWaiting(reactor)
    return ReactorWaiting(reactor)


class _Watched:
    """A socket that is watched. It knows nothing of protocols: the application has none yet."""

    def __init__(self, sock: socket.socket, reactor: Any, ready: Ready) -> None:
        self.fileno = sock.fileno
        self._reactor = reactor
        self._ready: Ready | None = ready
        try:
            self._begin()
        except BaseException:
            # It may have been noted before it was refused.
            self.cancel()
            raise

    def _begin(self) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError

    def connectionLost(self, reason: Failure) -> None:
        """Most reactors report a failed attempt this way; all do when they end."""
        if self._ready is not None:
            self._ready(reason.value)

    def logPrefix(self) -> str:
        """For the reactor's log."""
        return "dsadapter"

    def cancel(self) -> None:
        """Watch no more."""
        if self._ready is not None:
            self._ready = None
            self._end()


@implementer(IWriteDescriptor)
class _Writable(_Watched):
    def _begin(self) -> None:
        self._reactor.addWriter(self)

    def _end(self) -> None:
        self._reactor.removeWriter(self)

    def doWrite(self) -> None:
        """It is writable, or another's event has come here."""
        if self._ready is not None:
            self._ready()


@implementer(IReadDescriptor)
class _Readable(_Watched):
    def _begin(self) -> None:
        self._reactor.addReader(self)

    def _end(self) -> None:
        self._reactor.removeReader(self)

    def doRead(self) -> None:
        """It is readable, or another's event has come here."""
        if self._ready is not None:
            self._ready()
