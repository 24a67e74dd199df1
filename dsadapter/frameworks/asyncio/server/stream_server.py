"""``create_server`` and ``start_server``, and the server that they return."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl as ssl_module
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Self

from dsadapter.errors import PluginError, spelling
from dsadapter.frameworks.asyncio.given_sockets import taken_over
from dsadapter.frameworks.asyncio.loop_sockets import (
    AcceptingSocket,
    LoopSocket,
    SelectedSocket,
    accepts_by_objects,
    asks_objects,
)
from dsadapter.frameworks.asyncio.loop_waiting import FRAMEWORK, check_flags
from dsadapter.frameworks.asyncio.server.accepting import ProtocolFactory
from dsadapter.frameworks.asyncio.server.accepting_server import AcceptingServer
from dsadapter.frameworks.asyncio.server.loop_server import LoopServer
from dsadapter.frameworks.asyncio.server.proxied_server import ProxiedServer
from dsadapter.frameworks.asyncio.signatures import check_options, check_tls_options, like
from dsadapter.hooks.dispatch import Hooks
from dsadapter.listener import Listener
from dsadapter.policy import DEFAULT_PROXY_TIMEOUT, Fallback, ListenMode, ListenPolicy, proxy_set
from dsadapter.proxied import ProxyCounters
from dsadapter.ready.ready_socket import ReadySocket, listener_of, taking_the_place_of, watched
from dsadapter.sockets.adopting import given_stream
from dsadapter.sockets.families import BY_NUMBER, family_of
from dsadapter.sockets.listening import Listening, open_pair
from dsadapter.sockets.options import read_v6only
from dsadapter.sockets.port_numbers import port_number

Mode = Literal["dual-stack", "pair"]

_EXTRAS = {
    "mode": "dual-stack",
    "fallback": "auto",
    "device": None,
    "proxy_from": None,
    "proxy_timeout": DEFAULT_PROXY_TIMEOUT,
}


@like("create_server", **_EXTRAS)
async def create_server(
    protocol_factory: ProtocolFactory,
    host: str | Sequence[str] | None = None,
    port: int | str | None = None,
    *,
    family: int = socket.AF_UNSPEC,
    flags: int = socket.AI_PASSIVE,
    sock: socket.socket | None = None,
    backlog: int = 100,
    ssl: ssl_module.SSLContext | None = None,
    reuse_address: bool | None = None,
    reuse_port: bool | None = None,
    start_serving: bool = True,
    mode: Mode = "dual-stack",
    fallback: Fallback = "auto",
    device: str | None = None,
    proxy_from: Iterable[str] | None = None,
    proxy_timeout: float = DEFAULT_PROXY_TIMEOUT,
    **options: Any,
) -> DualStackServer:
    """As ``loop.create_server``, for IPv4 and IPv6 through one socket; the application sees
    canonical addresses only.

    :param host: None, ``""`` or ``"::"`` for both families; ``"localhost"`` for 127.0.0.1 and ::1;
        an address literal for that address alone; or several of these. Names are not resolved.
    :param port: a number, its digits or the name of a service; None and 0 let the system choose.
    :param family: ``AF_INET`` or ``AF_INET6`` for that family of a wildcard or ``localhost`` alone.
    :param flags: without ``AI_PASSIVE`` no host means ``localhost``, as for the loop's own; with
        ``AI_NUMERICHOST`` ``localhost`` is refused.
    :param sock: a bound or listening TCP socket; it becomes the server's. Plugins are asked before
        it serves, unless they were when it was opened.
    :param mode: ``"pair"`` for a socket of each family in place of one for both.
    :param fallback: what to serve where a family is missing; see
        :class:`~dsadapter.policy.ListenPolicy`.
    :param device: the name of the network interface, or of the VRF, to serve alone.
    :param proxy_from: addresses and networks of the proxies that pass connections on with a PROXY
        header, which comes before TLS. Connections from elsewhere are closed; the application sees
        nothing of a connection before its header has come, and then the client's address.
    :param proxy_timeout: seconds that a header may take.
    :raises ValueError: naming the offending value and the form to use.
    :raises OSError: as ``loop.create_server``; ``PermissionError`` if a plugin refuses.
    """
    if ssl is not None and not isinstance(ssl, ssl_module.SSLContext):
        raise TypeError(f"ssl {ssl!r} is not an SSLContext")
    check_options("create_server", options)
    if ssl is None:
        check_tls_options(options)
    if sock is not None and (host is not None or port is not None):
        raise ValueError("host and port go with no sock: the socket has them")
    if sock is not None:
        given = {"mode": mode, "fallback": fallback, "device": device, "proxy_from": proxy_from}
        for name, value in given.items():
            if value != _EXTRAS[name]:
                raise ValueError(f"{name} goes with no sock; give host and port")
    policies: list[ListenPolicy] = []
    if sock is None:
        make = partial(
            ListenPolicy,
            port=port_number(port, "tcp"),
            backlog=backlog,
            reuse_port=False if reuse_port is None else reuse_port,
            fallback=fallback,
            device=device,
            proxy_from=proxy_set(proxy_from),
            proxy_timeout=proxy_timeout,
        )
        policies = _policies(host, port, family, flags, make)
    return await serve(
        policies,
        protocol_factory,
        sock=sock,
        backlog=backlog,
        ssl=ssl,
        mode=mode,
        start_serving=start_serving,
        **options,
    )


async def serve(
    policies: Sequence[ListenPolicy],
    protocol_factory: ProtocolFactory,
    *,
    sock: socket.socket | None = None,
    backlog: int = 100,
    ssl: ssl_module.SSLContext | None = None,
    mode: Mode = "dual-stack",
    start_serving: bool = True,
    **options: Any,
) -> DualStackServer:
    """Listen by policies that have been made elsewhere; the rest as :func:`create_server`.

    :raises OSError: as :func:`create_server`.
    """
    loop = asyncio.get_running_loop()
    if mode not in ("dual-stack", "pair"):
        raise ValueError(f"mode {mode!r} is neither 'dual-stack' nor 'pair'")
    sockets: list[ReadySocket] = []
    listeners: list[Listener] = []
    behind_proxies: dict[ReadySocket, Listener] = {}
    try:
        if sock is not None:
            given = taken_over(sock, ReadySocket, "bound")
            sockets.append(given)
            kind = socket_kind(loop, given, ssl)
            if listener_of(given) is None:
                listener = _given_listener(given, backlog)
                listeners.append(listener)
                sockets[:] = watched(listener, [given], kind)
            else:
                # Whoever has opened it has asked plugins already.
                sockets[:] = [taking_the_place_of(given, kind)]
        for policy in policies:
            listener = Listener(FRAMEWORK, policy)
            listeners.append(listener)
            with spelling(BY_NUMBER):
                opened = listener.open(_opening(policy, mode), reads_headers=True)
            if policy.proxy_from is None:
                sockets += watched(listener, opened, socket_kind(loop, opened[0], ssl))
            else:
                behind = watched(listener, opened, ReadySocket)
                behind_proxies |= dict.fromkeys(behind, listener)
                sockets += behind
        server = DualStackServer(loop, sockets, listeners, behind_proxies)
        await server._prepare(protocol_factory, backlog, ssl, options)
    except PluginError as error:
        _close(sockets)
        raise PermissionError(errno.EPERM, str(error)) from error
    except BaseException:
        _close(sockets)
        raise
    if start_serving:
        try:
            await server.start_serving()
        except BaseException:
            server.close()
            raise
    return server


@like("start_server", **_EXTRAS)
async def start_server(
    client_connected_cb: Callable[
        [asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None
    ],
    host: str | Sequence[str] | None = None,
    port: int | str | None = None,
    *,
    limit: int = 2**16,
    **options: Any,
) -> DualStackServer:
    """As ``asyncio.start_server``, for IPv4 and IPv6 through one socket; the application sees
    canonical addresses only. See :func:`create_server`."""
    loop = asyncio.get_running_loop()

    def factory() -> asyncio.StreamReaderProtocol:
        reader = asyncio.StreamReader(limit=limit, loop=loop)
        return asyncio.StreamReaderProtocol(reader, client_connected_cb, loop=loop)

    return await create_server(factory, host, port, **options)


class DualStackServer(asyncio.AbstractServer):
    """What :func:`create_server` returns: an ``asyncio.Server`` of one socket or a few.

    Made by :func:`create_server` alone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sockets: Sequence[ReadySocket],
        listeners: Sequence[Listener],
        behind_proxies: Mapping[ReadySocket, Listener] | None = None,
    ) -> None:
        self._loop = loop
        self._sockets = tuple(sockets)
        self._listeners = tuple(listeners)
        self._behind_proxies = behind_proxies or {}
        # asyncio.Server, or what has its methods.
        self._parts: list[Any] = []
        self._forever: asyncio.Future[None] | None = None

    async def _prepare(
        self,
        factory: ProtocolFactory,
        backlog: int,
        ssl: ssl_module.SSLContext | None,
        options: dict[str, Any],
    ) -> None:
        if options.pop("keep_alive", None):
            for sock in self._sockets:
                # What it accepts inherits that.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for sock in self._sockets:
            life = self._behind_proxies.get(sock)
            if life is not None:
                part: Any = ProxiedServer(self._loop, sock, life, factory, ssl, options)
            elif isinstance(sock, AcceptingSocket):
                part = AcceptingServer(self._loop, sock, factory, backlog, ssl, options)
            else:
                taken = {"backlog": backlog, "ssl": ssl, **options}
                if isinstance(sock, LoopSocket):
                    part = await LoopServer.made(self._loop, sock, factory, taken)
                else:
                    part = await self._loop.create_server(
                        factory, sock=sock, start_serving=False, **taken
                    )
            self._parts.append(part)
        for listener in self._listeners:
            listener.opened()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} sockets={self.sockets!r}>"

    @property
    def mode(self) -> ListenMode | None:
        """Which address families are served, and by how many sockets; None for a socket that
        somebody else has opened as a ready one."""
        return self._listeners[0].mode if self._listeners else None

    @property
    def proxy_counters(self) -> tuple[ProxyCounters, ...]:
        """What proxies have passed on and what was closed for which reason, of each socket; empty
        without ``proxy_from``."""
        parts = [part for part in self._parts if isinstance(part, ProxiedServer)]
        return tuple(part.gate.counters for part in parts)

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets; none once the server is closed."""
        return tuple(sock for part in self._parts for sock in part.sockets)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it serves on."""
        return self._loop

    def is_serving(self) -> bool:
        """Whether it accepts connections."""
        return bool(self._parts) and all(part.is_serving() for part in self._parts)

    async def start_serving(self) -> None:
        """Accept connections from now on; those that came before wait in the backlog.

        :raises RuntimeError: if the server is closed.
        """
        if self._parts and not self.sockets:
            raise RuntimeError(f"server {self!r} is closed")
        for part in self._parts:
            # It may be closed while an earlier one takes its turn.
            if part.sockets:
                await part.start_serving()

    async def serve_forever(self) -> None:
        """Accept connections until it is cancelled, which closes the server.

        :raises RuntimeError: if the server is closed, or somebody awaits this already.
        """
        if self._forever is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        if not self.sockets:
            raise RuntimeError(f"server {self!r} is closed")
        self._forever = self._loop.create_future()
        try:
            await self.start_serving()
            await self._forever
        except asyncio.CancelledError:
            self.close()
            if sys.version_info >= (3, 14):
                # As asyncio.Server has it.
                for part in self._parts:
                    if isinstance(part, asyncio.Server):
                        part.close_clients()
            await self.wait_closed()
            raise
        finally:
            self._forever = None

    def close(self) -> None:
        """Close the listening sockets; connections live on."""
        for part in self._parts:
            part.close()
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()

    async def wait_closed(self) -> None:
        """Wait until it is closed: on asyncio's selector loop as an ``asyncio.Server`` of this
        Python does, on others without waiting for connections."""
        for part in self._parts:
            await part.wait_closed()

    def close_clients(self) -> None:
        """Close every connection, gracefully. On asyncio's selector loop there is this since Python
        3.13."""
        for part in self._parts:
            part.close_clients()

    def abort_clients(self) -> None:
        """Close every connection at once; likewise."""
        for part in self._parts:
            part.abort_clients()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()
        await self.wait_closed()


def _policies(
    host: str | Sequence[str] | None,
    port: object,
    family: int,
    flags: int,
    make: Callable[..., ListenPolicy],
) -> list[ListenPolicy]:
    wanted = family_of(family)
    if host is None or host == "":
        hosts = ["" if flags & socket.AI_PASSIVE else "localhost"]
    elif isinstance(host, (str, bytes)) or not isinstance(host, Iterable):
        hosts = [host]
    else:
        hosts = list(dict.fromkeys(host))
    if flags != socket.AI_PASSIVE:
        # The only name that there may be.
        named = "localhost" if host and "localhost" in hosts else None
        check_flags(named, port, flags)
    policies = dict.fromkeys(make(each, family=wanted) for each in hosts)
    return [p for p in policies if not any(_serves(q, p) for q in policies if q != p)]


def _serves(wide: ListenPolicy, policy: ListenPolicy) -> bool:
    """Whether one policy's sockets have the addresses of another, and so would hold its port."""
    if wide.host == "localhost":
        return policy.host in ("127.0.0.1", "::1")
    return wide.host in ("::", "0.0.0.0") and wide.mode in ("dual-stack", policy.mode)


def _opening(policy: ListenPolicy, mode: Mode) -> Callable[[Hooks], Listening] | None:
    if mode != "pair" or policy.mode != "dual-stack":
        return None
    return lambda hooks: Listening("pair", open_pair(policy, hooks.before_bind), None)


def _given_listener(sock: ReadySocket, backlog: int) -> Listener:
    """The listener of a socket that somebody else has opened; plugins may refuse it."""
    if not sock.getsockname()[1]:
        # As listening would do by itself.
        sock.bind(("::" if sock.family == socket.AF_INET6 else "0.0.0.0", 0))
    policy = given_stream(sock, backlog)

    def opening(hooks: Hooks) -> Listening:
        if hooks.before_bind is not None:
            hooks.before_bind(sock, policy)
        return Listening(policy.mode, (sock,), None)

    listener = Listener(FRAMEWORK, policy)
    listener.open(opening)
    return listener


def socket_kind(
    loop: asyncio.AbstractEventLoop,
    sock: socket.socket,
    ssl: ssl_module.SSLContext | None = None,
) -> type[ReadySocket]:
    """What a listening socket has to be on a loop: one that the loop accepts from, or one that
    accepts for it."""
    if accepts_by_objects(loop):
        return SelectedSocket
    if asks_objects(loop):
        # Its own accepting ends for good with the first connection that fails.
        return AcceptingSocket
    is_mapping = sock.family == socket.AF_INET6 and not read_v6only(sock)
    # What a loop has on top of TLS may not show when the connection ends.
    return AcceptingSocket if is_mapping or ssl is not None else LoopSocket


def _close(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
