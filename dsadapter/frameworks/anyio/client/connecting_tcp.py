"""``connect_tcp``."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, overload

import anyio
from anyio.abc import SocketStream
from anyio.streams.tls import TLSStream

from dsadapter.addressing.hosts import is_literal
from dsadapter.connector import Connector, Lookups
from dsadapter.connector.coroutine_race import TaskWaiting, connect_in_task, look_up_by
from dsadapter.frameworks.anyio.anyio_waiting import WAITING, shared_outcomes
from dsadapter.frameworks.anyio.socket_stream import FRAMEWORK, ObservedStream, plain_stream
from dsadapter.hooks.dispatch import Hooks
from dsadapter.messages import spelled
from dsadapter.policy import (
    DEFAULT_ATTEMPT_DELAY,
    ConnectPolicy,
    MappedAddresses,
    canonical_target,
)
from dsadapter.ready.plain_accept import made_plain
from dsadapter.sockets.canonical import CanonicalSocket

SPELLING = {"bind_address": "local_host", "attempt_delay": "happy_eyeballs_delay"}
"""Parameters as AnyIO's users type them."""

Host = str | IPv4Address | IPv6Address


@overload
async def connect_tcp(
    remote_host: Host,
    remote_port: int,
    *,
    local_host: Host | None = ...,
    local_port: int | None = ...,
    ssl_context: ssl.SSLContext | None = ...,
    tls_standard_compatible: bool = ...,
    tls_hostname: str,
    happy_eyeballs_delay: float = ...,
    mapped_addresses: MappedAddresses = ...,
    remember_outcomes: bool = ...,
) -> TLSStream: ...


@overload
async def connect_tcp(
    remote_host: Host,
    remote_port: int,
    *,
    local_host: Host | None = ...,
    local_port: int | None = ...,
    ssl_context: ssl.SSLContext,
    tls_standard_compatible: bool = ...,
    tls_hostname: str | None = ...,
    happy_eyeballs_delay: float = ...,
    mapped_addresses: MappedAddresses = ...,
    remember_outcomes: bool = ...,
) -> TLSStream: ...


@overload
async def connect_tcp(
    remote_host: Host,
    remote_port: int,
    *,
    local_host: Host | None = ...,
    local_port: int | None = ...,
    tls: Literal[True],
    ssl_context: ssl.SSLContext | None = ...,
    tls_standard_compatible: bool = ...,
    tls_hostname: str | None = ...,
    happy_eyeballs_delay: float = ...,
    mapped_addresses: MappedAddresses = ...,
    remember_outcomes: bool = ...,
) -> TLSStream: ...


@overload
async def connect_tcp(
    remote_host: Host,
    remote_port: int,
    *,
    local_host: Host | None = ...,
    local_port: int | None = ...,
    tls: Literal[False] = ...,
    happy_eyeballs_delay: float = ...,
    mapped_addresses: MappedAddresses = ...,
    remember_outcomes: bool = ...,
) -> SocketStream: ...


async def connect_tcp(
    remote_host: Host,
    remote_port: int,
    *,
    local_host: Host | None = None,
    local_port: int | None = None,
    tls: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    tls_standard_compatible: bool = True,
    tls_hostname: str | None = None,
    happy_eyeballs_delay: float = DEFAULT_ATTEMPT_DELAY,
    mapped_addresses: MappedAddresses = "unmap",
    remember_outcomes: bool = True,
) -> SocketStream | TLSStream:
    """As ``anyio.connect_tcp``, racing the addresses of both families (RFC 8305) through dual-stack
    sockets; the application passes and sees canonical addresses only.

    :param remote_host: an address literal or object of either family, plain or mapped, or a name.
    :param local_host: an address to connect from; it reaches its own family only.
    :param happy_eyeballs_delay: seconds between the starts of two attempts, 0.01 to 2.
    :param mapped_addresses: ``"refuse"`` leaves out an IPv4-mapped address that a name resolves to.
    :param remember_outcomes: begin with the address that has won lately.
    :raises ValueError: naming the offending value and the form to use.
    :raises OSError: as AnyIO's, with the story of every attempt in its text, and their errors as
        its cause; ``PermissionError`` if a plugin refuses the only address.
    """
    try:
        policy = ConnectPolicy(
            timeout=None,
            bind_address=None if local_host is None else (str(local_host), local_port or 0),
            attempt_delay=happy_eyeballs_delay,
            mapped_addresses=mapped_addresses,
            remember_outcomes=remember_outcomes,
        )
        target = canonical_target(str(remote_host), remote_port)
    except ValueError as error:
        raise spelled(error, SPELLING) from error.__cause__
    stream = await connect(target, policy)
    if not (tls or tls_hostname or ssl_context):
        return stream
    host = target[0].partition("%")[0] if is_literal(target[0]) else target[0]
    try:
        return await TLSStream.wrap(
            stream,
            server_side=False,
            hostname=tls_hostname or host,
            ssl_context=ssl_context,
            standard_compatible=tls_standard_compatible,
        )
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise


async def connect(target: tuple[str, int], policy: ConnectPolicy) -> SocketStream:
    """Connect by a policy that has been made elsewhere.

    :param target: as :func:`~dsadapter.policy.canonical_target` gives it.
    :raises OSError: as :func:`connect_tcp`.
    """
    return await connect_in_task(WAITING, _connector, target, policy, _taken, groups=False)


def _connector(waiting: TaskWaiting, hooks: Hooks) -> Connector:
    # Each with tasks of its own, which no other waits for.
    look_up = look_up_by(anyio.getaddrinfo, waiting.tasks.start_soon, anyio.CancelScope)
    return Connector(FRAMEWORK, waiting, hooks, look_up, Lookups(), shared_outcomes(), SPELLING)


async def _taken(
    sock: CanonicalSocket, ipv4: bool, lost: Callable[[], None] | None
) -> SocketStream:
    stream = await plain_stream(*made_plain(sock, ipv4))
    return stream if lost is None else ObservedStream(stream, lost)
