"""The sockets of a port beside its first one."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(IReadDescriptor)
class OtherSocket:
    """One more socket of a port, in the reactor beside the port, which closes it.

    :param port: a ``base.BasePort``.
    :param sock: the socket.
    :param read: called when it is readable.
    """

    def __init__(self, port: Any, sock: socket.socket, read: Callable[[], object]) -> None:
        self._port = port
        self.socket = sock
        self.number = sock.fileno()
        """Of its descriptor, which may be taken away."""
        self._read = read

    def fileno(self) -> int:
        """The number of the descriptor."""
        return self.socket.fileno()

    def doRead(self) -> None:
        """Have the port read."""
        self._read()

    def connectionLost(self, reason: Failure) -> None:
        """End the port, which has lost one of its sockets."""
        self._port.stopReading()
        self._port.connectionLost(reason)

    def logPrefix(self) -> str:
        """The port's."""
        prefix: str = self._port.logPrefix()
        return prefix
