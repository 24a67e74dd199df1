"""A listener's life: opened and closed once, warned about, and told to plugins.

A framework's listening object has one, and adds how it waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from zope.interface import implementer

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.errors import RefusedError
from dsadapter.hooks.contracts import IListener
from dsadapter.hooks.dispatch import Hooks
from dsadapter.hooks.manager import active_hooks
from dsadapter.messages import Message
from dsadapter.policy import FALLBACKS, DatagramPolicy, ListenMode, ListenPolicy
from dsadapter.records import Connection, Operation, Refusal
from dsadapter.sockets.canonical import CanonicalSocket
from dsadapter.sockets.conflicts import sharing_conflict
from dsadapter.sockets.ifaddrs import zoned
from dsadapter.sockets.listening import Listening, open_listening_sockets

logger = logging.getLogger("dsadapter")

_SERVED_BY = {
    "pair": "two sockets, one for each address family",
    "ipv4": "IPv4 only",
    "ipv6": "IPv6 only",
}


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
        self._warnings: list[Message] = []
        self._open = False

    def addresses(self) -> tuple[SocketAddress, ...]:
        """The canonical addresses of the sockets, as last bound; empty before that."""
        return self._addresses

    def open(
        self, opening: Callable[[Hooks], Listening] | None = None
    ) -> tuple[CanonicalSocket, ...]:
        """Open the sockets with the plugins of now. They are the caller's, also to close.

        :param opening: opens them; None for what a :class:`~dsadapter.policy.ListenPolicy` asks
            for.
        :returns: one bound socket; or two with one port number, IPv4 first.
        :raises PluginError: if a required plugin is missing, or a plugin refuses; nothing stays
            open, and the refusal is told.
        :raises OSError: as :func:`~dsadapter.sockets.listening.open_listening_sockets`.
        """
        policy = self.policy
        hooks = self.hooks = active_hooks()
        # Before the policy's own sockets are bound: they would be found, too.
        conflict = sharing_conflict(policy) if isinstance(policy, ListenPolicy) else None
        try:
            listening = (opening or self._open_streams)(hooks)
        except RefusedError as error:
            self.refused("listen", error.address, error.plugin, error.reason)
            raise
        self.mode = listening.mode
        self._addresses = tuple(zoned(sock.getsockname()) for sock in listening.sockets)
        self._warnings = [Message("{conflict}", conflict=conflict)] if conflict else []
        if listening.lack is not None:
            self._warnings.insert(0, _less_than_asked(policy, listening))
        return listening.sockets

    def _open_streams(self, hooks: Hooks) -> Listening:
        assert isinstance(self.policy, ListenPolicy)
        return open_listening_sockets(self.policy, hooks.before_bind)

    def opened(self) -> None:
        """Log what an operator would want to know of the sockets, and tell observers."""
        warnings, self._warnings = self._warnings, []
        for warning in warnings:
            logger.warning("%s", warning)
        self._open = True
        if self.hooks.listener_opened is not None:
            self.hooks.listener_opened(self._shown)

    def closed(self) -> None:
        """Tell observers, once after each :meth:`opened`, however often it is called."""
        was_open, self._open = self._open, False
        if was_open and self.hooks.listener_closed is not None:
            self.hooks.listener_closed(self._shown)

    def accepted(self, peer: SocketAddress, local: SocketAddress) -> Callable[[], None] | None:
        """Tell observers of a connection, before its application is told.

        A busy framework asks ``hooks.connections`` first, which is None where nobody observes.

        :param peer: canonical, as ``local`` is, with a scope id or a zone if link-local.
        :returns: to be called once, when the connection is lost and its application has been told;
            None if nobody wants to know.
        """
        observers = self.hooks.connections
        if observers is None:
            return None
        connection = Connection.accepted(self._shown, zoned(peer), zoned(local))
        if observers.made is not None:
            observers.made(connection)
        return None if observers.lost is None else partial(observers.lost, connection)

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


def _less_than_asked(policy: ListenPolicy | DatagramPolicy, listening: Listening) -> Message:
    assert listening.lack is not None
    return Message(
        "{policy} is served by {what}, because no more can be had here ({reason}); choose with "
        "{fallback}={choices}",
        policy=policy,
        what=_SERVED_BY[listening.mode],
        reason=listening.lack.reason,
        choices="|".join(FALLBACKS),
    )
