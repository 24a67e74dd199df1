"""A listener's life: opened and closed once, warned about, and told to plugins.

A framework's listening object has one, and adds how it waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from zope.interface import implementer

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.errors import AddressFamilyError, RefusedError
from dsadapter.hooks.contracts import IListener
from dsadapter.hooks.dispatch import Hooks
from dsadapter.hooks.manager import active_hooks
from dsadapter.messages import Message
from dsadapter.policy import (
    DATAGRAM_FALLBACKS,
    FALLBACKS,
    FAMILY_NAMES,
    DatagramPolicy,
    ListenMode,
    ListenPolicy,
    socket_name,
)
from dsadapter.records import (
    ALONE,
    Ask,
    Connection,
    Operation,
    Record,
    Refusal,
    complete,
    family_of,
    recorder,
    references,
    settle,
)
from dsadapter.sockets.canonical import CanonicalSocket, canonical_name
from dsadapter.sockets.conflicts import sharing_conflict
from dsadapter.sockets.ifaddrs import zoned
from dsadapter.sockets.listening import Listening, open_listening_sockets

__all__ = ["Listener"]

logger = logging.getLogger("dsadapter")

_announces: ContextVar[bool] = ContextVar("_announces", default=True)


@contextmanager
def announced_elsewhere() -> Iterator[None]:
    """Listeners that are made meanwhile log nothing when they open as they should: whoever has them
    made says it."""
    token = _announces.set(False)
    try:
        yield
    finally:
        _announces.reset(token)


class Told:
    """A connection that observers have been told of, and will be told the end of."""

    __slots__ = ("_connection", "_lost")

    def __init__(self, connection: Connection, lost: Callable[[Connection], None]) -> None:
        self._connection = connection
        self._lost = lost

    def closing(self) -> None:
        """Its socket may close before the end is told: what it alone knows is asked for now."""
        settle(self._connection)

    def __call__(self) -> None:
        """It is lost, and its application has been told."""
        connection = self._connection
        del self._connection
        try:
            self._lost(connection)
        finally:
            if references(connection) > ALONE:
                # Somebody keeps it.
                settle(connection)


@implementer(IListener)
class Listener:
    """What a listening object is known by, and what it says of itself.

    Call :meth:`open`, begin to accept, call :meth:`opened`; call :meth:`closed` when every socket
    is closed. It can then be opened again.

    :param framework: the name of the framework.
    :param policy: what to listen on.
    :param shown: the framework's own listening object, which provides ``IListener`` and is what
        plugins are given; the life itself where a framework has none.
    """

    hooks: Hooks
    """Those of the last :meth:`open`."""
    record: Record
    """Makes the records of connections; see :func:`dsadapter.records.recorder`."""

    def __init__(
        self,
        framework: str,
        policy: ListenPolicy | DatagramPolicy,
        shown: IListener | None = None,
    ) -> None:
        self.framework = framework
        self.policy = policy
        self.mode: ListenMode = policy.mode
        self._shown: IListener = self if shown is None else shown
        self._addresses: tuple[SocketAddress, ...] = ()
        self._lack: AddressFamilyError | None = None
        self._conflict: str | None = None
        self._open = False
        self._warned = False
        self._announces = _announces.get()

    def addresses(self) -> tuple[SocketAddress, ...]:
        """The canonical addresses of the sockets, as last bound; empty before that."""
        return self._addresses

    def open(
        self,
        opening: Callable[[Hooks], Listening] | None = None,
        *,
        reads_headers: bool = False,
    ) -> tuple[CanonicalSocket, ...]:
        """Open the sockets with the plugins of now. They are the caller's, also to close.

        :param opening: opens them; None for what a :class:`~dsadapter.policy.ListenPolicy` asks
            for.
        :param reads_headers: whether the caller has a :class:`~dsadapter.proxied.ProxyGate` for a
            policy with ``proxy_from``.
        :returns: one bound socket; or two with one port number, IPv4 first.
        :raises PluginError: if a required plugin is missing, or a plugin refuses; nothing stays
            open, and the refusal is told.
        :raises NotImplementedError: for ``proxy_from`` if nobody reads headers.
        :raises OSError: as :func:`~dsadapter.sockets.listening.open_listening_sockets`.
        """
        policy = self.policy
        if isinstance(policy, ListenPolicy) and policy.proxy_from and not reads_headers:
            raise NotImplementedError(
                Message(
                    "{proxy_from} can't be used here, where nothing reads PROXY headers; leave it "
                    "out, and let the proxy send none"
                )
            )
        hooks = self.hooks = active_hooks()
        # Before the policy's own sockets are bound: they would be found, too.
        self._conflict = sharing_conflict(policy)
        try:
            listening = (opening or self._open_streams)(hooks)
        except RefusedError as error:
            self.refused("listen", error.address, error.plugin, error.reason)
            raise
        self.mode = listening.mode
        self.record = recorder(self._shown, self.mode == "dual-stack")
        self._addresses = tuple(zoned(sock.getsockname()) for sock in listening.sockets)
        self._lack = listening.lack
        return listening.sockets

    def _open_streams(self, hooks: Hooks) -> Listening:
        assert isinstance(self.policy, ListenPolicy)
        return open_listening_sockets(self.policy, hooks.before_bind)

    def opened(self) -> None:
        """Log what an operator would want to know of the sockets, and tell observers."""
        if self._lack or self._announces:
            logger.log(logging.WARNING if self._lack else logging.INFO, "%s", self._start_line())
        if self._conflict is not None:
            logger.warning("%s", self._conflict)
        self._open = True
        if self.hooks.listener_opened is not None:
            self.hooks.listener_opened(self._shown)

    def closed(self) -> None:
        """Tell observers, once after each :meth:`opened`, however often it is called."""
        was_open, self._open = self._open, False
        if was_open and self.hooks.listener_closed is not None:
            self.hooks.listener_closed(self._shown)

    def handed_on(self) -> None:
        """Warn of a descriptor that goes to somebody who knows nothing of mapped addresses."""
        if self.mode == "dual-stack" and not self._warned:
            logger.warning(
                "the bare descriptor of %s is handed on, and whoever accepts from it sees IPv4 "
                "peers as IPv4-mapped addresses; for TLS set context.sslsocket_class = "
                "sock.sslsocket_class before wrap_socket, else give the server the socket itself",
                self,
            )

    def served_by(self, loop: str) -> None:
        """Warn of an event loop that accepts from the bare descriptor."""
        if self.mode == "dual-stack":
            self._warned = True
            logger.warning(
                "%s accepts from the bare descriptor of %s, and shows IPv4 peers as IPv4-mapped "
                "addresses; run the server on asyncio's own loop, give it two sockets, "
                "listening_socket('::', port, family='ipv6') and listening_socket('0.0.0.0', "
                "port), or call dsadapter.frameworks.asyncio.create_server(..., sock=sock)",
                loop,
                self,
            )

    def accepted(
        self,
        peer: SocketAddress,
        local: SocketAddress | Ask,
        proxy: SocketAddress | None = None,
    ) -> Told | None:
        """Tell observers of a connection, before its application is told.

        A busy framework asks ``hooks.connections`` first, which is None where nobody observes.

        :param peer: canonical, with a scope id or a zone if link-local.
        :param local: likewise; or what asks the system for it, such as a socket's ``getsockname``,
            which is then called when an observer wants to know. It must not give another
            connection's: call :meth:`Told.closing` where the descriptor may be closed before the
            end is told.
        :param proxy: whose PROXY header has said both; None if they are the connection's own.
        :returns: to be called once, when the connection is lost and its application has been told,
            but its socket is open still; None if nobody wants to know.
        """
        observers = self.hooks.connections
        if observers is None:
            return None
        ask = known = None
        if isinstance(local, tuple):
            known = zoned(local)
        else:
            ask = partial(_asked, local)
        if proxy is not None:
            proxy = zoned(proxy)
        if len(peer) > 2:
            peer = zoned(peer)
        connection = self.record(ask, family_of(proxy or peer))
        complete(connection, peer, known, proxy)
        if observers.made is not None:
            observers.made(connection)
        if observers.lost is not None:
            return Told(connection, observers.lost)
        if references(connection) > ALONE:
            # Somebody keeps it, and nobody will say when its socket closes.
            settle(connection)
        return None

    def unbuilt(self, peer: SocketAddress) -> None:
        """Tell observers of a connection that the application had no protocol for."""
        self.refused("accept", peer, None, "the application's factory built no protocol")

    def refused(
        self, operation: Operation, address: SocketAddress, plugin: str | None, reason: str
    ) -> None:
        """Tell observers that a plugin, or without one the application, has said no."""
        if self.hooks.operation_refused is not None:
            self.hooks.operation_refused(
                Refusal(self.framework, operation, zoned(address), plugin, reason)
            )

    def __str__(self) -> str:
        """The addresses as last bound, or the one to bind to."""
        names = [socket_name(address[0], address[1]) for address in self._addresses]
        return " and ".join(names) or str(self.policy)

    def _start_line(self) -> Message:
        what = "listening on" if isinstance(self.policy, ListenPolicy) else "receiving datagrams on"
        served = f"{what} {self}"
        if self.mode == "dual-stack":
            served += " for IPv4 and IPv6"
        if self.policy.device is not None:
            served += f" of {self.policy.device}"
        if self._lack is None:
            if self.policy.family == "ipv6":
                served += " for IPv6 only"
            return Message("{served}", served=served)
        return Message(
            "{served}, {what}, because this machine can't serve both families ({reason}); choose "
            "with {fallback}={choices}",
            served=served,
            what="a socket for each family" if self.mode == "pair" else _only(self.mode),
            reason=self._lack.reason,
            choices="|".join(
                FALLBACKS if isinstance(self.policy, ListenPolicy) else DATAGRAM_FALLBACKS
            ),
        )


def _asked(ask: Ask) -> SocketAddress:
    return zoned(canonical_name(ask()))


def _only(mode: ListenMode) -> str:
    assert mode in ("ipv4", "ipv6")
    return f"{FAMILY_NAMES[mode]} only"
