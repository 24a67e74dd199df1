"""``open_tcp_stream``, and its TLS twin."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import trio

from dsadapter.addressing.hosts import is_literal
from dsadapter.connector import Connector
from dsadapter.connector.coroutine_race import TaskWaiting, connect_in_task
from dsadapter.frameworks.trio.delegating import FRAMEWORK, trio_socket
from dsadapter.frameworks.trio.server.tcp_listeners import host_text
from dsadapter.frameworks.trio.trio_waiting import WAITING, look_up, shared
from dsadapter.hooks.dispatch import Hooks
from dsadapter.messages import quoted, spelled
from dsadapter.policy import DEFAULT_ATTEMPT_DELAY, ConnectPolicy, MappedAddresses, canonical_target
from dsadapter.ready.plain_accept import made_plain
from dsadapter.sockets.canonical import CanonicalSocket

SPELLING = {"bind_address": "local_address", "attempt_delay": "happy_eyeballs_delay"}
"""Parameters as Trio's users type them."""

_LONGEST_DELAY = 2.0


async def open_tcp_stream(
    host: str | bytes,
    port: int,
    *,
    happy_eyeballs_delay: float | None = DEFAULT_ATTEMPT_DELAY,
    local_address: str | None = None,
    mapped_addresses: MappedAddresses = "unmap",
    remember_outcomes: bool = True,
) -> trio.SocketStream:
    """As ``trio.open_tcp_stream``, racing the addresses of both families (RFC 8305) through
    dual-stack sockets; the application passes and sees canonical addresses only.

    :param host: an address literal of either family, plain or mapped, or a name.
    :param happy_eyeballs_delay: seconds between the starts of two attempts, 0.01 to 2; None or more
        than that is 2.
    :param local_address: an address to connect from; it reaches its own family only.
    :param mapped_addresses: ``"refuse"`` leaves out an IPv4-mapped address that a name resolves to.
    :param remember_outcomes: begin with the address that has won lately.
    :raises TypeError: for a port that is no integer.
    :raises ValueError: naming the offending value and the form to use.
    :raises OSError: as Trio's, from an ``ExceptionGroup`` with the error of every attempt, and with
        the whole story as its text; ``PermissionError`` if a plugin refuses the only address.
    """
    if host is None:
        raise ValueError("host cannot be None")
    target, policy = _asked_for(
        host, port, happy_eyeballs_delay, local_address, mapped_addresses, remember_outcomes
    )
    return await connect(target, policy)


async def open_ssl_over_tcp_stream(
    host: str | bytes,
    port: int,
    *,
    https_compatible: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    happy_eyeballs_delay: float | None = DEFAULT_ATTEMPT_DELAY,
    mapped_addresses: MappedAddresses = "unmap",
    remember_outcomes: bool = True,
) -> trio.SSLStream[trio.SocketStream]:
    """As ``trio.open_ssl_over_tcp_stream``; see :func:`open_tcp_stream`. The handshake is the
    caller's, or the first byte's."""
    target, policy = _asked_for(
        host, port, happy_eyeballs_delay, None, mapped_addresses, remember_outcomes
    )
    stream = await connect(target, policy)
    context = ssl.create_default_context() if ssl_context is None else ssl_context
    if ssl_context is None:
        # As Trio does: it tells a cut-off stream itself.
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    name = target[0].partition("%")[0] if is_literal(target[0]) else target[0].removesuffix(".")
    return trio.SSLStream(stream, context, server_hostname=name, https_compatible=https_compatible)


def _asked_for(
    host: str | bytes,
    port: int,
    delay: float | None,
    local_address: str | None,
    mapped_addresses: MappedAddresses,
    remember_outcomes: bool,
) -> tuple[tuple[str, int], ConnectPolicy]:
    if not isinstance(port, int):
        raise TypeError(f"port must be an int, not {quoted(port)}")
    if delay is None or (isinstance(delay, (int, float)) and delay > _LONGEST_DELAY):
        delay = _LONGEST_DELAY
    try:
        policy = ConnectPolicy(
            timeout=None,
            bind_address=local_address,
            attempt_delay=delay,
            mapped_addresses=mapped_addresses,
            remember_outcomes=remember_outcomes,
        )
        return canonical_target(host_text(host), port), policy
    except ValueError as error:
        raise spelled(error, SPELLING) from error.__cause__


async def connect(target: tuple[str, int], policy: ConnectPolicy) -> trio.SocketStream:
    """Connect by a policy that has been made elsewhere.

    :param target: as :func:`~dsadapter.policy.canonical_target` gives it.
    :raises OSError: as :func:`open_tcp_stream`.
    """
    sock = await connect_in_task(WAITING, _connector, target, policy, _taken, groups=True)
    return trio.SocketStream(sock)


def _connector(waiting: TaskWaiting, hooks: Hooks) -> Connector:
    return Connector(FRAMEWORK, waiting, hooks, look_up, *shared(), SPELLING)


async def _taken(
    sock: CanonicalSocket, ipv4: bool, lost: Callable[[], None] | None
) -> trio.socket.SocketType:
    return trio_socket(*made_plain(sock, ipv4), lost)
