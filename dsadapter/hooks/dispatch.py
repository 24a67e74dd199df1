"""The registered plugins' implementations as plain calls, compiled whenever a plugin comes or goes.

pluggy is asked what is registered, and in which order; it takes no part in a call. What nobody
implements is None, so that asking is all it costs.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dsadapter.hooks.checks import compiled_check
from dsadapter.hooks.observers import Observer
from dsadapter.hooks.specifications import (
    ARGUMENTS,
    CHECKS,
    CONNECTION_OBSERVERS,
    OBSERVERS,
    Implementation,
)

if TYPE_CHECKING:
    from dsadapter.hooks.contracts import IListener
    from dsadapter.policy import DatagramPolicy, ListenPolicy
    from dsadapter.records import Attempt, Connection, Leak, Refusal

_Key = tuple[str, str, int]


class ConnectionObservers(NamedTuple):
    """At least one of the two is not None."""

    made: Callable[[Connection], None] | None
    lost: Callable[[Connection], None] | None


class Hooks:
    """The hooks as plain callables; each is None while nobody implements it.

    There is one such object a plugin manager, always up to date: whatever is open keeps it and asks
    it each time.
    """

    before_bind: Callable[[socket.socket, ListenPolicy | DatagramPolicy], None] | None
    before_connect: Callable[[socket.socket, Attempt], None] | None
    listener_opened: Callable[[IListener], None] | None
    listener_closed: Callable[[IListener], None] | None
    connection_made: Callable[[Connection], None] | None
    connection_lost: Callable[[Connection], None] | None
    operation_refused: Callable[[Refusal], None] | None
    mapped_address_leaked: Callable[[Leak], None] | None
    connections: ConnectionObservers | None
    """``connection_made`` and ``connection_lost``, so that a connection asks once."""

    def __init__(self) -> None:
        self._observers: dict[_Key, Observer] = {}
        self.compile({})

    def compile(self, implementations: Mapping[str, Sequence[Implementation]]) -> None:
        """Take over what is registered now.

        :param implementations: by the name of the hook, in the order of calling.
        """
        before, self._observers = self._observers, {}
        calls: dict[str, Any] = {
            hook: self._observer(hook, implementations.get(hook, ()), before) for hook in OBSERVERS
        }
        for hook in CHECKS:
            calls[hook] = compiled_check(hook, ARGUMENTS[hook], implementations.get(hook, ()))
        for gone in before.keys() - self._observers.keys():
            # A connection, or a call that is under way, may still hold it.
            before[gone].registered = False
        for hook, call in calls.items():
            setattr(self, hook.removeprefix("dsadapter_"), call)
        made, lost = self.connection_made, self.connection_lost
        self.connections = ConnectionObservers(made, lost) if made or lost else None

    def _observer(
        self,
        hook: str,
        implementations: Sequence[Implementation],
        before: Mapping[_Key, Observer],
    ) -> Callable[[Any], None] | None:
        observers = []
        for implementation in implementations:
            # By identity, for as long as the observer holds it: a plugin may be unhashable.
            key = (hook, implementation.plugin, id(implementation.function))
            observer = before.get(key) or Observer(hook, implementation, self._leave_out_outbound)
            self._observers[key] = observer
            observers.append(observer.tell)
        if len(observers) < 2:
            return observers[0] if observers else None

        def notify(record: Any) -> None:
            for observer in observers:
                observer(record)

        return notify

    def _leave_out_outbound(self, plugin: str) -> None:
        for (hook, *_), observer in list(self._observers.items()):
            if hook in CONNECTION_OBSERVERS and observer.plugin == plugin:
                observer.leave_out_outbound()
