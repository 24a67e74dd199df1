"""How an attempt begins, for a race and for who has one address only."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsadapter.addressing.hosts import is_literal
from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.errors import RefusedError
from dsadapter.records import Attempt
from dsadapter.sockets.canonical import CanonicalSocket
from dsadapter.sockets.connecting import start_connecting
from dsadapter.sockets.ifaddrs import scoped_sockaddr

if TYPE_CHECKING:
    from dsadapter.connector.shared import Connector
    from dsadapter.policy import ConnectPolicy


class Begun(NamedTuple):
    """An attempt that has begun."""

    address: SocketAddress
    at: float
    """By the clock of the connector."""
    sock: CanonicalSocket | None
    """Non-blocking; None if the attempt has failed."""
    connected: bool
    """Whether it has connected already."""
    error: BaseException | None
    """What it has failed with; observers know of a refusal."""


def begin(
    connector: Connector,
    host: str,
    address: SocketAddress,
    bind_address: tuple[str, int] | None,
    kind: type[CanonicalSocket] = CanonicalSocket,
) -> Begun:
    """Begin an attempt, and ask plugins.

    :param host: what the application asked for.
    :param kind: as for :func:`~dsadapter.sockets.connecting.start_connecting`.
    """
    at = connector.waiting.now()
    attempt = Attempt(connector.framework, host, address, bind_address)
    try:
        sock, connected = start_connecting(attempt, connector.hooks.before_connect, kind)
    except BaseException as error:
        if isinstance(error, RefusedError):
            connector.refused(error)
        return Begun(address, at, None, False, error)
    return Begun(address, at, sock, connected, None)


def begin_only(
    connector: Connector,
    target: tuple[str, int],
    policy: ConnectPolicy,
    kind: type[CanonicalSocket] = CanonicalSocket,
) -> Begun | None:
    """Begin the only attempt that there is at an address literal, before a race has anything to
    wait for: to an address of this machine it has connected when this returns.

    :param target: as for :class:`~dsadapter.connector.race.Race`.
    :param kind: as for :func:`begin`.
    :returns: what :meth:`~dsadapter.connector.race.Race.run` takes; None if the race has to see to
        it itself.
    """
    host, port = target
    if policy.timeout is not None or not is_literal(host):
        return None
    try:
        address = scoped_sockaddr(host, port)
    except OSError:
        return None
    return begin(connector, host, address, policy.bind_address, kind)
