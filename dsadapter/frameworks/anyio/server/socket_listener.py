"""``create_tcp_listener``, and the listeners that it gives."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

import anyio
import anyio.lowlevel
from anyio.abc import SocketListener, SocketStream
from anyio.streams.stapled import MultiListener

from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.errors import plugin_errors_as_os_errors, spelling
from dsadapter.frameworks.anyio.socket_stream import (
    FRAMEWORK,
    LISTENING,
    ObservedStream,
    closes_alone,
    of_back_end,
    plain_stream,
)
from dsadapter.frameworks.anyio.socket_waits import notify_closing, wait_readable
from dsadapter.listener import Listener
from dsadapter.policy import DEFAULT_PROXY_TIMEOUT, Fallback, ListenPolicy, proxy_set
from dsadapter.ready.life import Life
from dsadapter.ready.plain_accept import PlainConnection, accept_plain
from dsadapter.records import Ask
from dsadapter.sockets.canonical import (
    ONE_CONNECTION,
    CanonicalSocket,
    canonical_name,
    family_number,
)
from dsadapter.sockets.families import family_of

_LONGEST_BACKLOG = 65536


async def create_tcp_listener(
    *,
    local_host: str | IPv4Address | IPv6Address | None = None,
    local_port: int = 0,
    family: int = socket.AF_UNSPEC,
    backlog: int = _LONGEST_BACKLOG,
    reuse_port: bool = False,
    fallback: Fallback = "auto",
    device: str | None = None,
    proxy_from: Iterable[str] | None = None,
    proxy_timeout: float = DEFAULT_PROXY_TIMEOUT,
) -> MultiListener[SocketStream]:
    """As ``anyio.create_tcp_listener``, for IPv4 and IPv6 through one socket; the application sees
    canonical addresses only.

    :param local_host: None or ``"::"`` for both families; ``"localhost"`` for 127.0.0.1 and ::1
        with one port number; an address literal or object for that address alone. Names are not
        resolved.
    :param family: ``AF_INET`` or ``AF_INET6`` for that family of a wildcard or ``localhost`` alone.
    :param fallback: what to serve where a family is missing; see
        :class:`~dsadapter.policy.ListenPolicy`.
    :param device: the name of the network interface, or of the VRF, to serve alone.
    :param proxy_from: addresses and networks of the proxies that pass connections on, each behind a
        PROXY header, which comes before TLS; connections from elsewhere are closed, and the
        application sees the clients' addresses.
    :param proxy_timeout: seconds that a header may take to come.
    :raises ValueError: naming the offending value and the form to use.
    :raises OSError: as AnyIO's; ``PermissionError`` if a plugin refuses.
    """
    with spelling(LISTENING):
        policy = ListenPolicy(
            "" if local_host is None else str(local_host),
            local_port,
            family=family_of(family),
            backlog=min(backlog, _LONGEST_BACKLOG),
            reuse_port=reuse_port,
            fallback=fallback,
            device=device,
            proxy_from=proxy_set(proxy_from),
            proxy_timeout=proxy_timeout,
        )
    return await listen(policy)


async def listen(policy: ListenPolicy) -> MultiListener[SocketStream]:
    """Listen by a policy that has been made elsewhere; see :func:`create_tcp_listener`."""
    await anyio.lowlevel.checkpoint()
    listener = Listener(FRAMEWORK, policy)
    kind: type[DualStackSocketListener] = DualStackSocketListener
    if policy.proxy_from is not None:
        from dsadapter.frameworks.anyio.server.proxied_listener import ListenerBehindProxies

        kind = ListenerBehindProxies
    with plugin_errors_as_os_errors(), spelling(LISTENING):
        sockets = listener.open(reads_headers=True)
    life = Life(sockets[0], listener.closed)
    made = [kind(sock, listener, life) for sock in sockets]
    try:
        listener.opened()
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return MultiListener(made)


class DualStackSocketListener(SocketListener):
    """One of the listeners that :func:`create_tcp_listener` gives, which alone makes them."""

    def __init__(self, sock: CanonicalSocket, listener: Listener, life: Life) -> None:
        self._sock = sock
        self._listener = listener
        self._life = life
        self._checkpoint = of_back_end("checkpoint", anyio.lowlevel.checkpoint)
        # AnyIO's own asks once more whether it is connected.
        self._make = of_back_end("wrap_stream_socket", SocketStream.from_socket)
        self._lasts = closes_alone()
        self._can_be_mapped = family_number(sock) == socket.AF_INET6
        life.share(sock)

    @property
    def _raw_socket(self) -> socket.socket:
        return self._sock

    async def accept(self) -> SocketStream:
        """As AnyIO's."""
        await self._checkpoint()
        while True:
            if self._sock.fileno() < 0:
                # Who was cancelled in the turn in which it woke has seen nothing of that yet.
                await anyio.lowlevel.checkpoint_if_cancelled()
                raise anyio.ClosedResourceError
            try:
                accepted = accept_plain(self._sock)
            except BlockingIOError:
                await wait_readable(self._sock)
                continue
            except OSError as error:
                if error.errno not in ONE_CONNECTION:
                    raise
                await anyio.lowlevel.checkpoint()
                continue
            try:
                return await self._served(accepted)
            except ConnectionResetError:
                # Nothing could be read from it.
                continue

    async def _served(self, accepted: PlainConnection) -> SocketStream:
        sock, peer, is_mapped = accepted
        local: SocketAddress | Ask | None = None
        if self._listener.hooks.connections is not None:
            try:
                # What may close unseen is asked at once.
                local = sock.getsockname if self._lasts else canonical_name(sock.getsockname())
            except BaseException:
                sock.close()
                raise
        # The kernel gives its form to none but a live connection with IPv4.
        is_live = self._can_be_mapped and len(peer) == 2 and not is_mapped
        make = self._make if is_live else SocketStream.from_socket
        stream = await plain_stream(sock, is_mapped, make)
        if local is None:
            return stream
        try:
            lost = self._listener.accepted(peer, local)
        except BaseException:
            await anyio.aclose_forcefully(stream)
            raise
        return stream if lost is None else ObservedStream(stream, lost)

    async def aclose(self) -> None:
        """As AnyIO's."""
        if self._sock.fileno() >= 0:
            notify_closing(self._sock)
            self._sock.close()
            self._life.end(self._sock)
        await anyio.lowlevel.checkpoint()
