"""What all our listening ports have in common: the plugins' part, the errors, ``IListener``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Self, TypeVar

from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from zope.interface import implementer

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.errors import PluginError, RefusedError
from dsadapter.frameworks.twisted.spelling import LISTENING
from dsadapter.hooks.contracts import IListener
from dsadapter.hooks.dispatch import Hooks
from dsadapter.hooks.manager import active_hooks
from dsadapter.messages import spelled
from dsadapter.policy import FALLBACKS, DatagramPolicy, ListenMode, ListenPolicy
from dsadapter.records import Operation, Refusal
from dsadapter.sockets.conflicts import sharing_conflict
from dsadapter.sockets.listening import Listening, open_listening_sockets

T = TypeVar("T")
P = TypeVar("P", ListenPolicy, DatagramPolicy)

_SERVED_BY = {
    "pair": "two sockets, one for each address family",
    "ipv4": "IPv4 only",
    "ipv6": "IPv6 only",
}


class PolicyEndpoint(Generic[P]):
    """An endpoint is a reactor and a policy."""

    _reactor: Any
    _policy: P

    @classmethod
    def withPolicy(cls, reactor: Any, policy: P) -> Self:
        """The endpoint for a policy that has been made elsewhere."""
        self = cls.__new__(cls)
        self._reactor = reactor
        self._policy = policy
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._policy} ({self._policy.mode})>"


@implementer(IListener)
class Listener:
    """A port's side of ``IListener`` and of the hooks; the port has the policy."""

    framework = "twisted"
    policy: Any
    mode: ListenMode
    _hooks: Hooks
    _addresses: tuple[SocketAddress, ...] = ()
    _opened = False

    def addresses(self) -> tuple[SocketAddress, ...]:
        """The canonical addresses of the sockets, as last bound; empty before that."""
        return self._addresses

    def _open(self, opening: Callable[[Hooks], T]) -> T:
        """Open sockets with the hooks of now, which the port has from then on.

        :raises CannotListenError: for an ``OSError``, and for a plugin that is missing or refuses.
        """
        policy = self.policy
        try:
            hooks = self._hooks = active_hooks()
        except PluginError as error:
            raise CannotListenError(policy.host, policy.port, error) from error
        try:
            return opening(hooks)
        except OSError as error:
            error = spelled(error, LISTENING)
            raise CannotListenError(policy.host, policy.port, error) from error
        except RefusedError as error:
            self._tellRefused("listen", error.address, error.plugin, error.reason)
            raise CannotListenError(policy.host, policy.port, error) from error

    def _tellOpened(self, addresses: Sequence[SocketAddress]) -> None:
        self._addresses = tuple(addresses)
        self._opened = True
        if self._hooks.listener_opened is not None:
            self._hooks.listener_opened(self)

    def _tellClosed(self) -> None:
        """Once after each time that it has opened, however often it is called."""
        opened, self._opened = self._opened, False
        if opened and self._hooks.listener_closed is not None:
            self._hooks.listener_closed(self)

    def _tellRefused(
        self, operation: Operation, address: SocketAddress, plugin: str | None, reason: str
    ) -> None:
        if self._hooks.operation_refused is not None:
            self._hooks.operation_refused(
                Refusal(self.framework, operation, address, plugin, reason)
            )


class StreamListener(Listener):
    """A port of streams for one :class:`~dsadapter.policy.ListenPolicy`."""

    _log = Logger()

    def _listen(self, start: Callable[[Listening], None]) -> None:
        """Open the listening sockets, and say what an operator would want to know of them.

        :param start: begins to accept; the sockets are its own, also if it raises.
        :raises CannotListenError: with the reason in its text; nothing stays open.
        """
        policy = self.policy
        conflict = sharing_conflict(policy)
        listening = self._open(lambda hooks: open_listening_sockets(policy, hooks.before_bind))
        addresses = [skt.getsockname() for skt in listening.sockets]
        start(listening)
        self.mode = listening.mode
        if listening.lack is not None:
            self._log.warn(
                "{policy} is served by {what}, because no more can be had here ({reason}); choose "
                "with fallback={choices}",
                policy=policy,
                what=_SERVED_BY[listening.mode],
                reason=listening.lack.reason,
                choices="|".join(FALLBACKS),
            )
        if conflict is not None:
            self._log.warn("{conflict}", conflict=conflict)
        self._tellOpened(addresses)

    def _tellUnbuilt(self, peer: SocketAddress) -> None:
        self._tellRefused("accept", peer, None, "the application's factory built no protocol")
