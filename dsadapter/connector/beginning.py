"""How an attempt begins, for a race and for who has one address only."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

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
    is_ipv4: bool
    """Whether it has become an AF_INET one."""
    error: BaseException | None
    """What it has failed with; observers know of a refusal."""


# A named tuple's own constructor is a call of Python.
_begun: Callable[[tuple[Any, ...]], Begun] = partial(tuple.__new__, Begun)


def begin(
    connector: Connector,
    attempt: Attempt,
    kind: type[CanonicalSocket] = CanonicalSocket,
    *,
    ipv4_form: bool = False,
) -> Begun:
    """Begin an attempt, and ask plugins.

    :param kind: as for :func:`~dsadapter.sockets.connecting.start_connecting`.
    :param ipv4_form: likewise.
    """
    at = connector.waiting.now()
    before_connect = connector.hooks.before_connect
    try:
        sock, connected, is_ipv4 = start_connecting(
            attempt, before_connect, kind, ipv4_form=ipv4_form
        )
    except BaseException as error:
        if isinstance(error, RefusedError):
            connector.refused(error)
        return Begun(attempt.destination, at, None, False, False, error)
    return _begun((attempt.destination, at, sock, connected, is_ipv4, None))


def begin_only(
    connector: Connector,
    target: tuple[str, int],
    policy: ConnectPolicy,
    kind: type[CanonicalSocket] = CanonicalSocket,
) -> Begun | None:
    """Begin the only attempt that there is at an address literal, before a race has anything to
    wait for: to an address of this machine it has connected when this returns.

    What is connected to an IPv4 address becomes an AF_INET one, if the kernel can do that.

    :param target: as for :class:`~dsadapter.connector.race.Race`.
    :param kind: as for :func:`begin`.
    :returns: what :meth:`~dsadapter.connector.race.Race.run` takes; None if the race has to see to
        it itself.
    """
    if policy.timeout is not None:
        return None
    try:
        if "%" in target[0] or connector.hooks.before_connect is not None:
            # Interfaces come and go, and a plugin may tell attempts apart.
            attempt = _attempt_at.__wrapped__(connector.framework, target, policy.bind_address)
        else:
            attempt = _attempt_at(connector.framework, target, policy.bind_address)
    except OSError:
        return None
    return None if attempt is None else begin(connector, attempt, kind, ipv4_form=True)


# A client connects to a few places, mostly.
@lru_cache(maxsize=256)
def _attempt_at(
    framework: str, target: tuple[str, int], bind_address: tuple[str, int] | None
) -> Attempt | None:
    """The only one; None at a name, which has any number."""
    if not is_literal(target[0]):
        return None
    return Attempt(framework, target[0], scoped_sockaddr(*target), bind_address)
