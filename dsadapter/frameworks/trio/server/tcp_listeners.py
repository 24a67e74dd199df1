"""``open_tcp_listeners``, ``serve_tcp``, and their TLS twins."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import trio

from dsadapter.errors import plugin_errors_as_os_errors
from dsadapter.frameworks.trio.delegating import FRAMEWORK, ListeningTrioSocket
from dsadapter.listener import Listener
from dsadapter.policy import DEFAULT_PROXY_TIMEOUT, Fallback, Family, ListenPolicy, proxy_set
from dsadapter.ready.life import Life

Handler = Callable[[trio.SocketStream], Awaitable[object]]
SSLHandler = Callable[["trio.SSLStream[trio.SocketStream]"], Awaitable[object]]

_LONGEST_BACKLOG = 0xFFFF


async def open_tcp_listeners(
    port: int,
    *,
    host: str | bytes | None = None,
    backlog: int | None = None,
    family: Family | None = None,
    fallback: Fallback = "auto",
    device: str | None = None,
    proxy_from: Iterable[str] | None = None,
    proxy_timeout: float = DEFAULT_PROXY_TIMEOUT,
) -> list[trio.SocketListener]:
    """As ``trio.open_tcp_listeners``, for IPv4 and IPv6 through one socket; the application sees
    canonical addresses only.

    :param port: 0 for any that is free.
    :param host: None, ``""`` or ``"::"`` for both families; ``"localhost"`` for 127.0.0.1 and ::1
        with one port number; an address literal for that address alone. Names are not resolved.
    :param backlog: how many connections may wait; None for as many as can be.
    :param family: ``"ipv4"`` or ``"ipv6"`` for that family of a wildcard or ``localhost`` alone.
    :param fallback: what to serve where a family is missing; see
        :class:`~dsadapter.policy.ListenPolicy`.
    :param device: the name of the network interface, or of the VRF, to serve alone.
    :param proxy_from: addresses and networks of the proxies that pass connections on, each behind a
        PROXY header, which comes before TLS; connections from elsewhere are closed, and the
        application sees the clients' addresses.
    :param proxy_timeout: seconds that a header may take to come.
    :returns: one listener; two where there are two sockets, IPv4 first.
    :raises TypeError: for a port or a backlog that is no integer.
    :raises ValueError: naming the offending value and the form to use.
    :raises OSError: as Trio's; ``PermissionError`` if a plugin refuses.
    """
    if not isinstance(port, int):
        raise TypeError(f"port must be an int not {port!r}")
    if not isinstance(backlog, int) and backlog is not None:
        raise TypeError(f"backlog must be an int or None, not {backlog!r}")
    policy = ListenPolicy(
        host_text(host),
        port,
        family=family,
        backlog=socket.SOMAXCONN if backlog is None else min(backlog, _LONGEST_BACKLOG),
        fallback=fallback,
        device=device,
        proxy_from=proxy_set(proxy_from),
        proxy_timeout=proxy_timeout,
    )
    return await listen(policy)


async def listen(policy: ListenPolicy) -> list[trio.SocketListener]:
    """Listen by a policy that has been made elsewhere; see :func:`open_tcp_listeners`."""
    await trio.lowlevel.checkpoint()
    listener = Listener(FRAMEWORK, policy)
    kind: type[ListeningTrioSocket] = ListeningTrioSocket
    if policy.proxy_from is not None:
        from dsadapter.frameworks.trio.server.proxied_trio_socket import ListeningBehindProxies

        kind = ListeningBehindProxies
    with plugin_errors_as_os_errors():
        sockets = listener.open(reads_headers=True)
    made: list[ListeningTrioSocket] = []
    for sock in sockets:
        plain = socket.socket(sock.family, sock.type, sock.proto, socket.socket.detach(sock))
        made.append(kind(plain, listener))
    life = Life(made[0], listener.closed)
    for each in made:
        each.live(life)
    try:
        listeners = [trio.SocketListener(each) for each in made]
        listener.opened()
    except BaseException:
        for each in made:
            each.close()
        raise
    return listeners


async def serve_tcp(
    handler: Handler,
    port: int,
    *,
    host: str | bytes | None = None,
    backlog: int | None = None,
    handler_nursery: trio.Nursery | None = None,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
    family: Family | None = None,
    fallback: Fallback = "auto",
    device: str | None = None,
    proxy_from: Iterable[str] | None = None,
    proxy_timeout: float = DEFAULT_PROXY_TIMEOUT,
) -> None:
    """As ``trio.serve_tcp``, for IPv4 and IPv6 through one socket; see
    :func:`open_tcp_listeners`."""
    listeners = await open_tcp_listeners(
        port,
        host=host,
        backlog=backlog,
        family=family,
        fallback=fallback,
        device=device,
        proxy_from=proxy_from,
        proxy_timeout=proxy_timeout,
    )
    await trio.serve_listeners(
        handler, listeners, handler_nursery=handler_nursery, task_status=task_status
    )


async def open_ssl_over_tcp_listeners(
    port: int,
    ssl_context: ssl.SSLContext,
    *,
    host: str | bytes | None = None,
    https_compatible: bool = False,
    backlog: int | None = None,
    family: Family | None = None,
    fallback: Fallback = "auto",
    device: str | None = None,
    proxy_from: Iterable[str] | None = None,
    proxy_timeout: float = DEFAULT_PROXY_TIMEOUT,
) -> list[trio.SSLListener[trio.SocketStream]]:
    """As ``trio.open_ssl_over_tcp_listeners``; see :func:`open_tcp_listeners`."""
    listeners = await open_tcp_listeners(
        port,
        host=host,
        backlog=backlog,
        family=family,
        fallback=fallback,
        device=device,
        proxy_from=proxy_from,
        proxy_timeout=proxy_timeout,
    )
    return [
        trio.SSLListener(listener, ssl_context, https_compatible=https_compatible)
        for listener in listeners
    ]


async def serve_ssl_over_tcp(
    handler: SSLHandler,
    port: int,
    ssl_context: ssl.SSLContext,
    *,
    host: str | bytes | None = None,
    https_compatible: bool = False,
    backlog: int | None = None,
    handler_nursery: trio.Nursery | None = None,
    task_status: trio.TaskStatus[
        list[trio.SSLListener[trio.SocketStream]]
    ] = trio.TASK_STATUS_IGNORED,
    family: Family | None = None,
    fallback: Fallback = "auto",
    device: str | None = None,
    proxy_from: Iterable[str] | None = None,
    proxy_timeout: float = DEFAULT_PROXY_TIMEOUT,
) -> None:
    """As ``trio.serve_ssl_over_tcp``; see :func:`open_tcp_listeners`."""
    listeners = await open_ssl_over_tcp_listeners(
        port,
        ssl_context,
        host=host,
        https_compatible=https_compatible,
        backlog=backlog,
        family=family,
        fallback=fallback,
        device=device,
        proxy_from=proxy_from,
        proxy_timeout=proxy_timeout,
    )
    await trio.serve_listeners(
        handler, listeners, handler_nursery=handler_nursery, task_status=task_status
    )


def host_text(host: Any) -> Any:
    """A host in one of the types that Trio takes, as text; what is none of them is left to whoever
    checks it."""
    if host is None:
        return ""
    return host.decode("ascii", "backslashreplace") if isinstance(host, bytes) else host
