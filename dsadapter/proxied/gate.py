"""Who may pass connections on to a listener, how long their headers may take, and what came."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.listener import Listener
from dsadapter.messages import Message
from dsadapter.policy import ListenPolicy, socket_name
from dsadapter.proxied.arrival import Arrival
from dsadapter.rate_limit import RateLimit
from dsadapter.sockets.canonical import CanonicalSocket

if TYPE_CHECKING:
    import socket

    from dsadapter.connector.waiting import Cancellable, Ready

logger = logging.getLogger("dsadapter.proxied")

_STRANGER = Message(
    "it is none of {proxy_from}; if it is a proxy of yours, add its address to {proxy_from}"
)

Deliver = Callable[[CanonicalSocket, SocketAddress, SocketAddress, SocketAddress | None], object]
"""Takes a connection whose header has come: its socket, the canonical addresses of the client and
of what that connected to, and the proxy that said so. The proxy is None where the header has no
addresses, and those of the connection itself hold. The socket is the framework's from then on."""


class HeaderWaiting(Protocol):
    """One event loop, in whose thread everything happens."""

    def now(self) -> float:
        """Seconds on a clock that only goes forward."""

    def call_later(self, seconds: float, function: Callable[[], object]) -> Cancellable:
        """Call a function once, in a later turn of the loop even after 0 seconds."""

    def when_readable(self, sock: socket.socket, ready: Ready) -> Cancellable:
        """Call a function whenever a socket is readable or has an error, until that is cancelled.

        :raises OSError: if the loop can't watch the socket.
        """


@dataclass(slots=True)
class ProxyCounters:
    """What has come to one listener in all its life. All but ``passed`` say why a connection did
    not reach the application."""

    passed: int = 0
    """Connections with a header, which the application was given."""
    strangers: int = 0
    """Closed: from an address that is no proxy's."""
    malformed: int = 0
    """Closed: what came is no header, or is too long for one."""
    cut: int = 0
    """Closed by the proxy before the end of a header."""
    late: int = 0
    """Closed: the header didn't come in time."""


class ProxyGate:
    """Lets connections in to one listener: those of named proxies, once their header has come.

    :param life: the listener's, whose policy has ``proxy_from``; open it with ``reads_headers``.
    :param deliver: gets what has passed, and raises nothing.
    """

    def __init__(self, life: Listener, waiting: HeaderWaiting, deliver: Deliver) -> None:
        policy = life.policy
        assert isinstance(policy, ListenPolicy)
        assert policy.proxy_from is not None
        self.counters = ProxyCounters()
        """They survive closing."""
        self._named = policy.proxy_from
        self._patience = policy.proxy_timeout
        self._life = life
        self._waiting = waiting
        self._deliver = deliver
        # In the order of their deadlines: each has the same time.
        self._arrivals: dict[Arrival, tuple[CanonicalSocket, Cancellable]] = {}
        self._timer: Cancellable | None = None
        self._limits: dict[str, RateLimit] = {}

    def accepted(self, sock: CanonicalSocket, peer: SocketAddress) -> None:
        """Take a connection over from where it is accepted.

        :param peer: its canonical address.
        """
        if not self.admits(peer):
            sock.close()
            return
        sock.setblocking(False)
        arrival = self.arrival(peer)
        # Proxies send it at once.
        if arrival.receive(sock) == "waiting":
            self._wait(arrival, sock)
        else:
            self._finish(arrival, sock)

    def admits(self, peer: SocketAddress) -> bool:
        """Whether a connection may wait for its header; one that may not is noted.

        :param peer: its canonical address.
        """
        if peer[0] in self._named:
            return True
        self._closed(peer, "strangers", _STRANGER)
        return False

    def arrival(self, peer: SocketAddress) -> Arrival:
        """What is to come of the header of a connection that is admitted."""
        return Arrival(peer, self._ended)

    def when_late(self, arrival: Arrival, close: Callable[[], object]) -> Cancellable:
        """End one whose header doesn't come in time, of which only bytes are known.

        :param close: closes its connection.
        """

        def end() -> None:
            self._late(arrival)
            close()

        return self._waiting.call_later(self._patience, end)

    def _late(self, arrival: Arrival) -> None:
        """End one whose header didn't come in time; its connection is to be closed."""
        arrival.end("late", f"no whole PROXY header came within {self._patience:g} s")

    def close(self) -> None:
        """Close the connections that still wait; their listener closes."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        for arrival in list(self._arrivals):
            sock = self._forget(arrival)
            if sock is not None:
                sock.close()

    def _wait(self, arrival: Arrival, sock: CanonicalSocket) -> None:
        def ready(lost: BaseException | None = None) -> None:
            if lost is not None:
                arrival.end("cut", f"the connection ended without a PROXY header: {lost}")
            if arrival.receive(sock) != "waiting" and self._forget(arrival) is not None:
                self._finish(arrival, sock)

        arrival.deadline = self._waiting.now() + self._patience
        try:
            self._arrivals[arrival] = sock, self._waiting.when_readable(sock, ready)
        except BaseException:
            sock.close()
            raise
        if self._timer is None:
            self._set_timer()

    def _forget(self, arrival: Arrival) -> CanonicalSocket | None:
        sock, watch = self._arrivals.pop(arrival, (None, None))
        if watch is not None:
            watch.cancel()
        return sock

    def _finish(self, arrival: Arrival, sock: CanonicalSocket) -> None:
        if arrival.state != "passed":
            sock.close()
            return
        peer, local = arrival.peer, arrival.local
        if peer is None or local is None:
            self._deliver(sock, arrival.proxy, sock.getsockname(), None)
        else:
            self._deliver(sock, peer, local, arrival.proxy)

    def _set_timer(self) -> None:
        self._timer = None
        first = next(iter(self._arrivals), None)
        if first is not None:
            patience = max(0.0, first.deadline - self._waiting.now())
            self._timer = self._waiting.call_later(patience, self._end_late_ones)

    def _end_late_ones(self) -> None:
        now = self._waiting.now()
        for arrival in [each for each in self._arrivals if each.deadline <= now]:
            sock = self._forget(arrival)
            if sock is None:
                # Who has got the one before it has closed all.
                continue
            # It may have come in time, while nobody looked.
            if arrival.receive(sock) == "waiting":
                self._late(arrival)
            self._finish(arrival, sock)
        self._set_timer()

    def _ended(self, arrival: Arrival, matter: str | None, reason: str) -> None:
        if matter is None:
            self.counters.passed += 1
        else:
            self._closed(arrival.proxy, matter, reason)

    def _closed(self, peer: SocketAddress, matter: str, reason: str) -> None:
        """Count, log and tell that a connection is closed before the application has it."""
        setattr(self.counters, matter, getattr(self.counters, matter) + 1)
        more = self._limits.setdefault(matter, RateLimit()).admit()
        if more is not None:
            logger.warning(
                "%s",
                Message(
                    "{listener} closed a connection from {peer}: {reason}{more}",
                    listener=str(self._life),
                    peer=socket_name(peer[0], peer[1]),
                    reason=reason,
                    more=more,
                ),
            )
        self._life.refused("accept", peer, None, str(reason))
