"""The registered plugins' implementations as plain calls, compiled whenever a plugin comes or goes.

pluggy is asked what is registered, and in which order; it takes no part in a call. What nobody
implements is None, so that asking is all it costs.
"""

from __future__ import annotations

import inspect
import logging
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.errors import RefusedError
from dsadapter.rate_limit import RateLimit
from dsadapter.sockets.ifaddrs import scoped_sockaddr
from dsadapter.sockets.options import read_v6only

if TYPE_CHECKING:
    from dsadapter.hooks.contracts import IListener
    from dsadapter.policy import DatagramPolicy, ListenPolicy
    from dsadapter.records import Attempt, Connection, Refusal

logger = logging.getLogger("dsadapter.plugins")

BLOCK_VARIABLE = "DSADAPTER_BLOCK_PLUGINS"
CHECKS = ("dsadapter_before_bind", "dsadapter_before_connect")
OBSERVERS = (
    "dsadapter_listener_opened",
    "dsadapter_listener_closed",
    "dsadapter_connection_made",
    "dsadapter_connection_lost",
    "dsadapter_operation_refused",
)


class Implementation(NamedTuple):
    """One plugin's implementation of one hook."""

    plugin: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]
    """The names of those of the hook's arguments that it takes, in its own order."""


class ConnectionObservers(NamedTuple):
    """At least one of the two is not None."""

    made: Callable[[Connection], None] | None
    lost: Callable[[Connection], None] | None


class Hooks:
    """The hooks as plain callables; each is None while nobody implements it.

    There is one such object a plugin manager, always up to date: whatever is open keeps it and asks
    it each time.
    """

    __slots__ = (
        "_observers",
        "before_bind",
        "before_connect",
        "connections",
        "listener_closed",
        "listener_opened",
        "operation_refused",
    )

    before_bind: Callable[[socket.socket, ListenPolicy | DatagramPolicy], None] | None
    before_connect: Callable[[socket.socket, Attempt], None] | None
    listener_opened: Callable[[IListener], None] | None
    listener_closed: Callable[[IListener], None] | None
    connections: ConnectionObservers | None
    operation_refused: Callable[[Refusal], None] | None

    def __init__(self) -> None:
        self._observers: dict[tuple[str, int], _Observer] = {}
        self.compile({})

    def compile(self, implementations: dict[str, Sequence[Implementation]]) -> None:
        """Take over what is registered now.

        :param implementations: by the name of the hook, in the order of calling.
        """
        before = self._observers
        self._observers = {}
        compiled = {
            hook: self._observer(hook, implementations.get(hook, ()), before) for hook in OBSERVERS
        }
        for gone in before.keys() - self._observers.keys():
            # A connection, or a call that is under way, may still hold it.
            before[gone].registered = False
        self.before_bind = _check(
            "dsadapter_before_bind",
            ("sock", "policy"),
            _listening_address,
            implementations.get("dsadapter_before_bind", ()),
        )
        self.before_connect = _check(
            "dsadapter_before_connect",
            ("sock", "attempt"),
            lambda attempt: attempt.destination,
            implementations.get("dsadapter_before_connect", ()),
        )
        self.listener_opened = compiled["dsadapter_listener_opened"]
        self.listener_closed = compiled["dsadapter_listener_closed"]
        self.operation_refused = compiled["dsadapter_operation_refused"]
        made = compiled["dsadapter_connection_made"]
        lost = compiled["dsadapter_connection_lost"]
        self.connections = ConnectionObservers(made, lost) if made or lost else None

    def _observer(
        self,
        hook: str,
        implementations: Sequence[Implementation],
        before: dict[tuple[str, int], _Observer],
    ) -> Callable[[Any], None] | None:
        observers = []
        for implementation in implementations:
            # By identity, for as long as the observer holds it: a plugin may be unhashable.
            key = (hook, id(implementation.function))
            observer = before.get(key) or _Observer(hook, implementation)
            self._observers[key] = observer
            observers.append(observer)
        if len(observers) < 2:
            return observers[0] if observers else None

        def notify(record: Any) -> None:
            for observer in observers:
                observer(record)

        return notify


class _Observer:
    """One implementation, kept from hurting the others and the caller."""

    __slots__ = ("_complaints", "_function", "_hook", "_plugin", "registered")

    def __init__(self, hook: str, implementation: Implementation) -> None:
        function = implementation.function
        self._hook = hook
        self._plugin = implementation.plugin
        self._function: Callable[[Any], Any] = (
            function if implementation.arguments else lambda _record: function()
        )
        self.registered = True
        self._complaints = RateLimit()

    def __call__(self, record: Any) -> None:
        if not self.registered:
            return
        try:
            result = self._function(record)
        except Exception as error:
            self._complain(f"raised {_shown(error)}", error)
        else:
            if result is not None:
                self._complain(_returned(result), None)

    def _complain(self, what: str, error: Exception | None) -> None:
        unsaid = self._complaints.admit()
        if unsaid is None:
            return
        logger.error(
            "plugin %r %s in %s%s; nothing else was affected; %s",
            self._plugin,
            what,
            self._hook,
            unsaid,
            remedy(self._plugin),
            exc_info=error,
        )


def remedy(plugin: str) -> str:
    """What an operator can do about a broken plugin."""
    return f"update or mend it, or keep it out with {BLOCK_VARIABLE}={plugin}"


def _check(
    hook: str,
    arguments: tuple[str, ...],
    address_of: Callable[[Any], SocketAddress],
    implementations: Sequence[Implementation],
) -> Callable[..., None] | None:
    if not implementations:
        return None
    calls = [
        (plugin, function, [arguments.index(name) for name in wanted])
        for plugin, function, wanted in implementations
    ]

    def check(sock: socket.socket, subject: Any) -> None:
        given = (sock, subject)

        def refused(plugin: str, what: str) -> RefusedError:
            return RefusedError(
                f"plugin {plugin!r} {what} in {hook}, which refuses the operation. If that is "
                f"not wanted: {remedy(plugin)}",
                plugin,
                address_of(subject),
            )

        v6only = read_v6only(sock)
        for plugin, function, indices in calls:
            try:
                result = function(*(given[index] for index in indices))
            except Exception as error:
                raise refused(plugin, f"raised {_shown(error)}") from error
            if result is not None:
                raise refused(plugin, _returned(result))
            if sock.fileno() == -1:
                raise refused(plugin, "closed the socket")
            if read_v6only(sock) != v6only:
                raise refused(plugin, "changed IPV6_V6ONLY")

    return check


def _listening_address(policy: ListenPolicy | DatagramPolicy) -> SocketAddress:
    try:
        return scoped_sockaddr(policy.host, policy.port)
    except OSError:
        # The interface of its zone is not there.
        return policy.host, policy.port, 0, 0


def _shown(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _returned(result: object) -> str:
    if inspect.iscoroutine(result):
        # Python would warn of one that was never awaited.
        result.close()
        return "returned a coroutine, which nobody awaits, where None belongs"
    return f"returned {result!r}, where None belongs,"
