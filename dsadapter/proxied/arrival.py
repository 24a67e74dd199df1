"""One connection of a proxy, from where it is accepted to the end of its header."""

from __future__ import annotations

import socket
from collections.abc import Callable
from math import inf
from typing import Literal

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.errors import ProxyHeaderError
from dsadapter.proxy_protocol import ProxyHeader, ProxyHeaderParser

State = Literal["waiting", "passed", "ended"]
"""Whether more of the header is to come, the connection is the application's, or it has to be
closed."""

Ended = Callable[["Arrival", str | None, str], None]
"""Told once: the counter of such ends, None for a connection that has passed; and the reason."""

_AT_ONCE = 256
"""How many bytes to look at: more than most headers have."""

_WAITING = (BlockingIOError, InterruptedError)


class Arrival:
    """What has come of one connection's header.

    Made by :meth:`dsadapter.proxied.ProxyGate.arrival`.
    """

    __slots__ = ("_ended", "_parser", "deadline", "header", "proxy", "state")

    def __init__(self, proxy: SocketAddress, ended: Ended) -> None:
        self.proxy = proxy
        """The canonical address of the proxy."""
        self.deadline = inf
        """When it is overdue, by the framework's clock, once it waits."""
        self.state: State = "waiting"
        self.header: ProxyHeader | None = None
        """Once it has passed."""
        self._parser = ProxyHeaderParser()
        self._ended = ended

    @property
    def peer(self) -> SocketAddress | None:
        """The client's canonical address; None where the connection's own names hold."""
        header = self.header
        return header.source if header and isinstance(header.source, tuple) else None

    @property
    def local(self) -> SocketAddress | None:
        """The canonical address that the client connected to; None together with :attr:`peer`."""
        header = self.header
        return header.destination if header and isinstance(header.destination, tuple) else None

    @property
    def rest(self) -> bytes:
        """What was fed behind the header, and is the application's."""
        return self._parser.rest

    def feed(self, data: bytes) -> State:
        """Take the next bytes of the connection; none are its end."""
        try:
            if data:
                self.header = self._parser.feed(data)
            else:
                self._parser.end()
        except ProxyHeaderError as error:
            self.end("malformed" if data else "cut", str(error))
        else:
            if self.header is not None:
                self.state = "passed"
                self._ended(self, None, "")
        return self.state

    def receive(self, sock: socket.socket) -> State:
        """Take what has come of the header from a non-blocking socket, and nothing behind it."""
        while self.state == "waiting":
            try:
                # As section 2 has it: whoever has the socket next finds what is behind the header.
                seen = sock.recv(_AT_ONCE, socket.MSG_PEEK)
                self.feed(seen)
                taken = len(seen) - len(self.rest)
                if seen and sock.recv(taken) != seen[:taken]:
                    self.end("malformed", "the bytes of a PROXY header changed under way")
            except _WAITING:
                break
            except OSError as error:
                self.end("cut", f"the connection ended without a PROXY header: {error.strerror}")
        return self.state

    def end(self, matter: str, reason: str) -> None:
        """Note that the connection has to be closed.

        :param matter: the counter of such ends.
        :param reason: what to log.
        """
        if self.state != "ended":
            self.state = "ended"
            self._ended(self, matter, reason)
