"""A plugin that remembers what it was told."""

from __future__ import annotations

import socket
from typing import Any, NamedTuple

from dsadapter import hookimpl
from dsadapter.hooks.contracts import IListener
from dsadapter.policy import DatagramPolicy, ListenPolicy
from dsadapter.records import Attempt, Connection, Leak, Refusal


class Event(NamedTuple):
    """One call of a hook."""

    hook: str
    """The name of the hook without its prefix, such as ``connection_made``."""
    subject: Any
    """The hook's record or listener; for ``before_bind`` the policy, for
    ``before_connect`` the attempt."""


class RecordingPlugin:
    """Implements every observer and both checks, and keeps each call in :attr:`events`."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        """All calls in their order."""

    def of(self, hook: str) -> list[Any]:
        """The subjects of all calls of one hook, in their order."""
        return [event.subject for event in self.events if event.hook == hook]

    @hookimpl
    def dsadapter_before_bind(
        self, sock: socket.socket, policy: ListenPolicy | DatagramPolicy
    ) -> None:
        """Keep the policy."""
        self.events.append(Event("before_bind", policy))

    @hookimpl
    def dsadapter_before_connect(self, sock: socket.socket, attempt: Attempt) -> None:
        """Keep the attempt."""
        self.events.append(Event("before_connect", attempt))

    @hookimpl
    def dsadapter_listener_opened(self, listener: IListener) -> None:
        """Keep the listener."""
        self.events.append(Event("listener_opened", listener))

    @hookimpl
    def dsadapter_listener_closed(self, listener: IListener) -> None:
        """Keep the listener."""
        self.events.append(Event("listener_closed", listener))

    @hookimpl
    def dsadapter_connection_made(self, connection: Connection) -> None:
        """Keep the record."""
        self.events.append(Event("connection_made", connection))

    @hookimpl
    def dsadapter_connection_lost(self, connection: Connection) -> None:
        """Keep the record."""
        self.events.append(Event("connection_lost", connection))

    @hookimpl
    def dsadapter_operation_refused(self, refusal: Refusal) -> None:
        """Keep the record."""
        self.events.append(Event("operation_refused", refusal))

    @hookimpl
    def dsadapter_mapped_address_leaked(self, leak: Leak) -> None:
        """Keep the record."""
        self.events.append(Event("mapped_address_leaked", leak))
