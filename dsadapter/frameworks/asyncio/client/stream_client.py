"""``create_connection`` and ``open_connection``."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl as ssl_module
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from dsadapter.addressing.hosts import is_literal
from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.connector import Unconnected
from dsadapter.connector.os_errors import attempt_errors, error_of
from dsadapter.errors import PluginError
from dsadapter.frameworks.asyncio.given_ports import port_number
from dsadapter.frameworks.asyncio.given_sockets import taken_over
from dsadapter.frameworks.asyncio.loop_sockets import HandedSocket
from dsadapter.frameworks.asyncio.loop_waiting import SPELLING, check_family, connector_of
from dsadapter.frameworks.asyncio.signatures import like
from dsadapter.frameworks.asyncio.transports import canonical_factory, shows_its_names
from dsadapter.messages import spelled
from dsadapter.policy import DEFAULT_ATTEMPT_DELAY, ConnectPolicy, MappedAddresses, canonical_target
from dsadapter.ready.ready_socket import ReadySocket, taking_the_place_of, watched_connection
from dsadapter.sockets.canonical import CanonicalSocket, take_ipv4_form

P = TypeVar("P", bound=asyncio.BaseProtocol)


@like("create_connection", mapped_addresses="unmap", remember_outcomes=True)
async def create_connection(
    protocol_factory: Callable[[], P],
    host: str | None = None,
    port: int | str | None = None,
    *,
    ssl: ssl_module.SSLContext | bool | None = None,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    sock: socket.socket | None = None,
    local_addr: tuple[str, int] | None = None,
    server_hostname: str | None = None,
    happy_eyeballs_delay: float | None = None,
    interleave: int | None = None,
    all_errors: bool = False,
    mapped_addresses: MappedAddresses = "unmap",
    remember_outcomes: bool = True,
    **options: Any,
) -> tuple[asyncio.Transport, P]:
    """As ``loop.create_connection``, racing the addresses of both families (RFC 8305) through
    dual-stack sockets; the application passes and sees canonical addresses only.

    :param host: an address literal of either family, plain or mapped, or a name.
    :param family: ``AF_INET`` or ``AF_INET6`` for addresses of that family alone.
    :param sock: a connected socket; it becomes the transport's.
    :param local_addr: ``(address, port)`` to connect from; it reaches its own family only.
    :param happy_eyeballs_delay: seconds, 0.01 to 2; None for 0.25.
    :param interleave: how many addresses of the first family to try before one of the other.
    :param all_errors: raise an ``ExceptionGroup`` with the error of every attempt.
    :param mapped_addresses: ``"refuse"`` leaves out an IPv4-mapped address that a name resolves to.
    :param remember_outcomes: begin with the address that has won lately.
    :raises ValueError: naming the offending value and the form to use.
    :raises OSError: as ``loop.create_connection``, with the story of every attempt in its text;
        ``PermissionError`` if a plugin refuses the only address.
    """
    loop = asyncio.get_running_loop()
    own = isinstance(loop, BaseSelectorEventLoop)
    connected: CanonicalSocket
    if sock is not None:
        if host is not None or port is not None:
            raise ValueError("host and port go with no sock: the socket is connected")
        connected = taken_over(sock, CanonicalSocket, "connected")
        take_ipv4_form(connected)
        if not own:
            connected = taking_the_place_of(connected, HandedSocket)
    else:
        if host is None or port is None:
            raise ValueError("give host and port, or a connected sock")
        try:
            policy = _policy(
                local_addr,
                DEFAULT_ATTEMPT_DELAY if happy_eyeballs_delay is None else happy_eyeballs_delay,
                1 if interleave is None else interleave,
                mapped_addresses,
                remember_outcomes,
            )
            target = canonical_target(host, port_number(port, "tcp"))
        except ValueError as error:
            raise spelled(error, SPELLING) from error.__cause__
        if ssl and server_hostname is None:
            server_hostname = _server_name(target[0])
        check_family(target[0], family)
        connected = await race(
            target,
            policy,
            family=family,
            all_errors=all_errors,
            kind=CanonicalSocket if own else HandedSocket,
        )
    protocols: list[P] = []
    transports: list[Any] = []

    def factory() -> P:
        protocols.append(protocol_factory())
        return protocols[0]

    shown: Callable[[], Any] = factory
    if not shows_its_names(loop, connected):
        shown = canonical_factory(factory, transports.append)
    try:
        transport, _ = await loop.create_connection(
            shown, sock=connected, ssl=ssl, server_hostname=server_hostname, **options
        )
    except BaseException:
        connected.close()
        raise
    if connected.fileno() != -1 and transport.is_closing() and _is_over(transport):
        # uvloop attaches the socket object only now, too late to let go of the descriptor.
        connected.detach()
    return (transports or [transport])[0], protocols[0]


@like("open_connection", mapped_addresses="unmap", remember_outcomes=True)
async def open_connection(
    host: str | None = None, port: int | None = None, *, limit: int = 2**16, **options: Any
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """As ``asyncio.open_connection``; see :func:`create_connection`."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await create_connection(lambda: protocol, host, port, **options)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def race(
    target: tuple[str, int],
    policy: ConnectPolicy,
    *,
    family: int = socket.AF_UNSPEC,
    all_errors: bool = False,
    kind: type[CanonicalSocket] = CanonicalSocket,
) -> CanonicalSocket:
    """A connected socket, non-blocking, by a policy that has been made elsewhere.

    :param target: as :func:`~dsadapter.policy.canonical_target` gives it.
    :param kind: what it is at least.
    :raises OSError: as :func:`create_connection`.
    """
    loop = asyncio.get_running_loop()
    try:
        connector = connector_of(loop, family)
    except PluginError as error:
        raise PermissionError(errno.EPERM, str(error)) from error
    ended: asyncio.Future[tuple[CanonicalSocket, SocketAddress]] = loop.create_future()

    def connected(sock: CanonicalSocket, address: SocketAddress) -> None:
        if ended.done():
            sock.close()
        else:
            ended.set_result((sock, address))

    def failed(end: Unconnected) -> None:
        if not ended.done():
            ended.set_exception(_error(end, all_errors))

    running = connector.race(target, policy, connected, failed)
    running.run()
    try:
        sock, address = await ended
    except BaseException:
        running.cancel()
        if ended.done() and not ended.cancelled() and ended.exception() is None:
            ended.result()[0].close()
        raise
    try:
        if len(address) == 2:
            take_ipv4_form(sock)
        told = connector.connected(sock, address)
        if told is None and kind is CanonicalSocket:
            return sock
        return watched_connection(sock, told, HandedSocket if kind is HandedSocket else ReadySocket)
    except BaseException:
        sock.close()
        raise


def _error(end: Unconnected, all_errors: bool) -> BaseException:
    """An asyncio user's error for the end of a race."""
    if all_errors:
        errors = attempt_errors(end)
        if errors:
            return ExceptionGroup("create_connection failed", errors)
    # An error that is no Exception ends the program.
    if end.cause is not None and not isinstance(end.cause, Exception):
        return end.cause
    return error_of(end)


# A client connects in one way, mostly.
@lru_cache(maxsize=64, typed=True)
def _cached_policy(
    bind_address: Any, delay: float, count: int, mapped_addresses: Any, remember_outcomes: Any
) -> ConnectPolicy:
    return ConnectPolicy(
        timeout=None,
        bind_address=bind_address,
        attempt_delay=delay,
        first_address_family_count=count,
        mapped_addresses=mapped_addresses,
        remember_outcomes=remember_outcomes,
    )


def _policy(*options: Any) -> ConnectPolicy:
    try:
        hash(options)
    except TypeError:
        return _cached_policy.__wrapped__(*options)
    return _cached_policy(*options)


def _is_over(transport: asyncio.BaseTransport) -> bool:
    """Whether a transport has closed its descriptor."""
    sock = transport.get_extra_info("socket")
    return sock is None or sock.fileno() == -1


def _server_name(host: str) -> str:
    """The name to verify a certificate for (RFC 6066, section 3).

    :param host: canonical, so that a mapped literal is verified as IPv4.
    """
    return host.partition("%")[0] if is_literal(host) else host.removesuffix(".")
