"""``create_connection`` and ``open_connection``."""

from __future__ import annotations

import asyncio
import socket
import ssl as ssl_module
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from dsadapter.addressing.hosts import is_literal
from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.connector import Connector, Unconnected
from dsadapter.connector.beginning import Begun, begin_only
from dsadapter.connector.os_errors import attempt_errors, error_of
from dsadapter.frameworks.asyncio.given_sockets import check_given, taken_over
from dsadapter.frameworks.asyncio.loop_sockets import (
    HandedSocket,
    WatchedHandedSocket,
    asks_objects,
    handed_over,
    knows_by_objects,
)
from dsadapter.frameworks.asyncio.loop_waiting import (
    SPELLING,
    check_family,
    check_flags,
    connector_of,
)
from dsadapter.frameworks.asyncio.signatures import check_options, check_tls_options, like
from dsadapter.frameworks.asyncio.transports import canonical_factory, shows_its_names
from dsadapter.messages import quoted, spelled
from dsadapter.policy import DEFAULT_ATTEMPT_DELAY, ConnectPolicy, MappedAddresses, canonical_target
from dsadapter.ready.ready_socket import ReadySocket, taking_the_place_of, watched_connection
from dsadapter.sockets.canonical import CanonicalSocket, family_number, take_ipv4_form
from dsadapter.sockets.port_numbers import port_number

_INET6 = int(socket.AF_INET6)

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
    :param flags: those of ``getaddrinfo``, for a name; ``AI_NUMERICHOST`` for no name.
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
    own = asks_objects(loop)
    if ssl or options or server_hostname is not None:
        _check_tls(ssl, server_hostname, options)
    connected: socket.socket
    if sock is not None:
        if host is not None or port is not None:
            raise ValueError("host and port go with no sock: the socket is connected")
        if ssl and server_hostname is None:
            raise ValueError(
                "ssl and a sock don't say whom to verify; give server_hostname, '' for nobody"
            )
        connected, is_shown = _given(loop, sock)
    else:
        if host is None or port is None:
            raise ValueError("give host and port, or a connected sock")
        asked = host, port, family, local_addr, happy_eyeballs_delay, interleave
        policy, target = _asked((*asked, mapped_addresses, remember_outcomes))
        if flags:
            check_flags(target[0], port, flags)
        if ssl and server_hostname is None:
            server_hostname = _server_name(target[0])
        connected = await race(
            target,
            policy,
            family=family,
            flags=flags,
            all_errors=all_errors,
            kind=CanonicalSocket if own else HandedSocket,
        )
        is_shown = own or not connected.mapped  # type: ignore[attr-defined]
    options["sock"] = connected
    if ssl or server_hostname is not None:
        options |= {"ssl": ssl, "server_hostname": server_hostname}
    try:
        if is_shown:
            return await loop.create_connection(protocol_factory, **options)
        return await _standing_in(loop, protocol_factory, options)
    except BaseException:
        connected.close()
        raise


def _check_tls(ssl: Any, server_hostname: str | None, options: dict[str, Any]) -> None:
    """Check before connecting what a loop checks when it is given the connection."""
    if ssl and ssl is not True and not isinstance(ssl, ssl_module.SSLContext):
        raise TypeError(f"ssl {quoted(ssl)} is neither an SSLContext nor True")
    check_options("create_connection", options)
    if not ssl:
        check_tls_options({"server_hostname": server_hostname, **options})


def _given(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> tuple[socket.socket, bool]:
    """A connected socket for a loop, in the place of a caller's; and whether that shows canonical
    names by itself."""
    if knows_by_objects(loop) and not isinstance(sock, CanonicalSocket):
        check_given(sock, "connected")
        sock.setblocking(False)
        return sock, shows_its_names(sock)
    taken = taken_over(sock, CanonicalSocket, "connected")
    take_ipv4_form(taken)
    if asks_objects(loop):
        return taken, True
    handed = taking_the_place_of(taken, WatchedHandedSocket)
    handed.mapped = not shows_its_names(handed)
    return handed, not handed.mapped


async def _standing_in(
    loop: asyncio.AbstractEventLoop,
    protocol_factory: Callable[[], P],
    options: dict[str, Any],
) -> tuple[Any, P]:
    """As ``loop.create_connection``, with a transport that stands for the loop's."""
    protocols: list[P] = []
    transports: list[Any] = []

    def factory() -> P:
        protocols.append(protocol_factory())
        return protocols[0]

    shown: Any = canonical_factory(factory, transports.append)
    transport, _ = await loop.create_connection(shown, **options)
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
    flags: int = 0,
    all_errors: bool = False,
    kind: type[CanonicalSocket] = CanonicalSocket,
) -> CanonicalSocket:
    """A connected socket, non-blocking, by a policy that has been made elsewhere.

    :param target: as :func:`~dsadapter.policy.canonical_target` gives it.
    :param kind: what it is at least.
    :raises OSError: as :func:`create_connection`.
    """
    loop = asyncio.get_running_loop()
    connector = connector_of(loop, family, flags)
    begun = begin_only(connector, target, policy, kind)
    if begun is not None and begun.sock is not None and begun.connected:
        # There is nothing to wait for.
        sock, address, is_ipv4 = begun.sock, begun.address, begun.is_ipv4
    else:
        sock, address = await _ended(loop, connector, target, policy, begun, all_errors)
        is_ipv4 = len(address) == 2 and take_ipv4_form(sock)
    try:
        mapped = len(address) == 2 and not is_ipv4 and family_number(sock) == _INET6
        observed = connector.hooks.connections is not None
        told = connector.connected(sock, address) if observed else None
        if kind is not HandedSocket:
            return sock if told is None else watched_connection(sock, told, ReadySocket)
        handed: HandedSocket | WatchedHandedSocket
        if told is None:
            handed = sock if isinstance(sock, HandedSocket) else handed_over(sock)
        else:
            handed = watched_connection(sock, told, WatchedHandedSocket)
        handed.mapped = mapped
    except BaseException:
        sock.close()
        raise
    return handed


async def _ended(
    loop: asyncio.AbstractEventLoop,
    connector: Connector,
    target: tuple[str, int],
    policy: ConnectPolicy,
    begun: Begun | None,
    all_errors: bool,
) -> tuple[CanonicalSocket, SocketAddress]:
    """The winner of a race."""
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
    running.run(begun)
    try:
        return await ended
    except BaseException:
        running.cancel()
        if ended.done() and not ended.cancelled() and ended.exception() is None:
            ended.result()[0].close()
        raise


def _error(end: Unconnected, all_errors: bool) -> BaseException:
    """An asyncio user's error for the end of a race."""
    if all_errors:
        errors = attempt_errors(end)
        if errors:
            return ExceptionGroup("create_connection failed", errors)
    return error_of(end)


def _asked(what: tuple[Any, ...]) -> tuple[ConnectPolicy, tuple[str, int]]:
    """What is to be done, and the target.

    :param what: the arguments of :func:`_settled`.

    :raises ValueError: naming the offending value and the form to use.
    :raises OSError: for a service that nobody knows, or a literal that is not of the family.
    """
    # What a service means is for the system to say each time; other types may have an equality of
    # their own.
    if type(what[0]) is str and type(what[1]) is int:
        try:
            return _remembered(*what)
        except TypeError:
            # Something has no hash; or it is wrong, which is found again.
            pass
    return _settled(*what)


def _settled(
    host: Any,
    port: Any,
    family: int,
    local_addr: Any,
    delay: float | None,
    interleave: int | None,
    mapped_addresses: Any,
    remember_outcomes: Any,
) -> tuple[ConnectPolicy, tuple[str, int]]:
    try:
        policy = ConnectPolicy(
            timeout=None,
            bind_address=_local(local_addr),
            attempt_delay=DEFAULT_ATTEMPT_DELAY if delay is None else delay,
            first_address_family_count=1 if interleave is None else interleave,
            mapped_addresses=mapped_addresses,
            remember_outcomes=remember_outcomes,
        )
        target = canonical_target(host, port_number(port, "tcp"))
    except ValueError as error:
        raise spelled(error, SPELLING) from error.__cause__
    check_family(target[0], family)
    return policy, target


def _local(address: Any) -> Any:
    """An address to connect from, whose port may be what the loop's own takes for one."""
    if isinstance(address, (tuple, list)) and len(address) == 2:
        return address[0], port_number(address[1], "tcp")
    return address


# A client connects in one way to a few places, mostly.
_remembered = lru_cache(maxsize=256, typed=True)(_settled)


def _server_name(host: str) -> str:
    """The name to verify a certificate for (RFC 6066, section 3).

    :param host: canonical, so that a mapped literal is verified as IPv4.
    """
    return host.partition("%")[0] if is_literal(host) else host.removesuffix(".")
