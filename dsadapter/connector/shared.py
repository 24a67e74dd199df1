"""What the connects of one event loop share."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.connector.lookups import LookUp, Lookups
from dsadapter.connector.race import Connected, Failed, Race
from dsadapter.connector.waiting import Waiting
from dsadapter.errors import RefusedError
from dsadapter.happy_eyeballs.outcomes import Outcomes
from dsadapter.hooks.dispatch import Hooks
from dsadapter.policy import ConnectPolicy
from dsadapter.records import Connection, Refusal
from dsadapter.sockets.canonical import CanonicalSocket, family_number
from dsadapter.sockets.ifaddrs import zoned


@dataclass(slots=True, eq=False)
class Connector:
    """What the connects of one event loop have in common."""

    framework: str
    """Its name, as plugins are told it."""
    waiting: Waiting
    hooks: Hooks
    look_up: LookUp
    """Asks the resolver for a name."""
    lookups: Lookups
    """What is being asked of that resolver by all."""
    outcomes: Outcomes
    """What is remembered; by the clock of ``waiting``."""
    names: Mapping[str, str] | None = None
    """The parameters in the spelling of the framework's users."""

    def race(
        self, target: tuple[str, int], policy: ConnectPolicy, connected: Connected, failed: Failed
    ) -> Race:
        """A race that has not begun; see :class:`Race`."""
        return Race(self, target, policy, connected, failed)

    def refused(self, error: RefusedError) -> None:
        """Tell observers that a plugin has said no to an attempt."""
        if self.hooks.operation_refused is not None:
            address = zoned(error.address)
            self.hooks.operation_refused(
                Refusal(self.framework, "connect", address, error.plugin, error.reason)
            )

    def connected(self, sock: CanonicalSocket, peer: SocketAddress) -> Callable[[], None] | None:
        """Tell observers of a connection, before its application is told.

        A busy framework asks ``hooks.connections`` first, which is None where nobody observes.

        :param peer: the address that a race has connected to.
        :returns: to be called once, when the connection is lost and its application has been told;
            None if nobody wants to know.
        """
        observers = self.hooks.connections
        if observers is None:
            return None
        translated = len(peer) == 2 and family_number(sock) == socket.AF_INET6
        local = zoned(sock.getsockname())
        connection = Connection.connected(self.framework, zoned(peer), local, translated)
        if observers.made is not None:
            observers.made(connection)
        return None if observers.lost is None else partial(observers.lost, connection)
