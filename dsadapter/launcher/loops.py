"""A loop that reads names from bare descriptors, uvloop, as a covered process has it.

Its servers accept as those of :mod:`dsadapter.frameworks.asyncio` do on it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import weakref
from asyncio.trsock import TransportSocket
from collections.abc import Iterable, Sequence
from ssl import SSLContext
from typing import Any

from dsadapter.addressing.literal import parse_literal
from dsadapter.frameworks.asyncio.client.stream_client import (
    create_connection as connect_on_ours,
)
from dsadapter.frameworks.asyncio.loop_sockets import AcceptingSocket
from dsadapter.frameworks.asyncio.server.stream_server import DualStackServer
from dsadapter.frameworks.asyncio.transports import canonical_factory, shows_its_names
from dsadapter.hooks.manager import active_hooks
from dsadapter.launcher.listing import connected
from dsadapter.launcher.methods import listeners
from dsadapter.launcher.report import settings
from dsadapter.ready.ready_socket import ReadySocket, taking_the_place_of, watched
from dsadapter.sockets.canonical import CanonicalSocket, take_ipv4_form
from dsadapter.sockets.options import REUSE_ADDRESS, set_option, set_v6only

_INTERNET = (socket.AF_INET, socket.AF_INET6)
# What connect_accepted_socket takes beside; the rest is about opening.
_SERVING = ("ssl_handshake_timeout", "ssl_shutdown_timeout")
_OPTIONS = {
    *("backlog", "family", "flags", "reuse_address", "reuse_port", "sock", "ssl", "start_serving"),
    *_SERVING,
}


def create_server(original: Any, module: Any) -> Any:
    """It accepts from sockets of its own, which are widened when they listen."""

    async def create_server(
        self: Any, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        given = options.get("sock")
        if not _is_known(options):
            # It says what is wrong with them.
            return await original(self, protocol_factory, host, port, **options)
        if given is not None:
            if host is not None or port is not None or not _is_stream(given):
                return await original(self, protocol_factory, host, port, **options)
            sockets = [given]
        elif host is None and port is None:
            return await original(self, protocol_factory, host, port, **options)
        else:
            if settings().merge_pairs:
                from dsadapter.launcher.merged_servers import merged

                made = await merged(self, protocol_factory, host, port, options)
                if made is not None:
                    return made
            sockets = await bound(self, host, port, options)
        server = _Server(self, protocol_factory, sockets, options)
        if options.get("start_serving", True):
            await server.start_serving()
        return server

    return create_server


def _is_known(options: dict[str, Any]) -> bool:
    ssl = options.get("ssl")
    if ssl is None:
        return options.keys() <= _OPTIONS and all(options.get(name) is None for name in _SERVING)
    return options.keys() <= _OPTIONS and isinstance(ssl, SSLContext)


class _Server(DualStackServer):
    """A server of the loop's, which looks at its sockets when they are to listen.

    :param sockets: bound; they become the server's.
    :param options: those of ``loop.create_server``.
    """

    def __init__(
        self, loop: Any, factory: Any, sockets: Sequence[Any], options: dict[str, Any]
    ) -> None:
        super().__init__(loop, (), ())
        self._factory = factory
        self._bound = tuple(sockets)
        self._options = options
        # The program may ask the one that it gave for its name.
        self._given = self._bound if options.get("sock") is not None else ()

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The sockets, listening or bound; none once the server is closed."""
        return super().sockets or tuple(map(TransportSocket, self._bound))

    async def start_serving(self) -> None:
        """Accept connections from now on.

        :raises OSError: as ``loop.create_server``; the server is then closed.
        """
        if bound := self._bound:
            options = self._options
            backlog = options.get("backlog", 100)
            serving = {name: options[name] for name in _SERVING if name in options}
            try:
                self._sockets = self._listening(bound, backlog)
                self._bound = ()
                await self._prepare(self._factory, backlog, options.get("ssl"), serving)
            except BaseException:
                for sock in (*bound, *self._sockets):
                    sock.close()
                raise
        await super().start_serving()

    def _listening(self, bound: Sequence[Any], backlog: int) -> tuple[ReadySocket, ...]:
        ready: list[ReadySocket] = []
        try:
            for sock in bound:
                sock.listen(backlog)
                own = CanonicalSocket(
                    fileno=os.dup(sock.fileno()) if self._given else sock.detach()
                )
                known = listeners.get(sock.fileno() if self._given else own.fileno())
                if known is not None and known.life is not None:
                    known.entry.ipv4 = None
                    ready += watched(known.life, [own], AcceptingSocket)
                    known.sock = weakref.ref(ready[-1])
                else:
                    ready.append(taking_the_place_of(own, AcceptingSocket))
        except BaseException:
            for made in ready:
                made.close()
            raise
        return tuple(ready)

    def close(self) -> None:
        """Close the listening sockets; connections live on."""
        bound, self._bound = self._bound, ()
        super().close()
        for sock in (*bound, *self._given):
            sock.close()


async def bound(loop: Any, host: Any, port: Any, options: dict[str, Any]) -> list[Any]:
    """The sockets that asyncio and uvloop bind for a server.

    :raises OSError: as ``loop.create_server``.
    """
    hosts: list[Any]
    if host == "" or host is None:
        hosts = [None]
    elif isinstance(host, str) or not isinstance(host, Iterable):
        hosts = [host]
    else:
        hosts = [*host]
    found = await asyncio.gather(
        *(
            loop.getaddrinfo(
                each,
                port,
                family=options.get("family", 0),
                type=socket.SOCK_STREAM,
                flags=options.get("flags", socket.AI_PASSIVE),
            )
            for each in hosts
        )
    )
    sockets: list[Any] = []
    try:
        for family, type_, proto, _name, address in dict.fromkeys(
            each for addresses in found for each in addresses
        ):
            try:
                sock = socket.socket(family, type_, proto)
            except OSError:
                # This machine may have one family only.
                continue
            sockets.append(sock)
            if options.get("reuse_address") is not False:
                set_option(sock, REUSE_ADDRESS, 1)
            if options.get("reuse_port"):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                set_v6only(sock, True)
            try:
                sock.bind(address)
            except OSError as error:
                raise OSError(
                    error.errno,
                    f"error while attempting to bind on address {address!r}: "
                    f"{str(error.strerror).lower()}",
                ) from None
        if not sockets:
            raise OSError(f"could not bind on any address of {host!r}")
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def create_connection(original: Any, module: Any) -> Any:
    """A mapped literal is IPv4, and plugins are asked."""

    async def create_connection(
        self: Any, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        given = options.get("sock")
        if given is not None and _is_stream(given):
            take_ipv4_form(given)
        elif host is not None and active_hooks().before_connect is not None:
            return await connect_on_ours(protocol_factory, host, port, **options)
        return await original(self, protocol_factory, unmapped(host, port), port, **options)

    return create_connection


def connect_accepted_socket(original: Any, module: Any) -> Any:
    """Names are canonical, whatever the peer has done already."""

    async def connect_accepted_socket(
        self: Any, protocol_factory: Any, sock: Any, **options: Any
    ) -> Any:
        # Whoever accepts by ours has done it.
        if _is_stream(sock) and not isinstance(sock, CanonicalSocket):
            take_ipv4_form(sock)
            if not shows_its_names(sock):
                protocol_factory = canonical_factory(protocol_factory)
        return await original(self, protocol_factory, sock, **options)

    return connect_accepted_socket


def _is_stream(sock: Any) -> bool:
    return sock.family in _INTERNET and sock.type == socket.SOCK_STREAM


def unmapped(host: Any, port: Any) -> Any:
    """A host without the mapped form of a literal; the connection is listed."""
    if not isinstance(host, str):
        return host
    try:
        literal = parse_literal(host)
    except ValueError:
        return host
    if literal is None or not literal.is_ipv4 or literal.address == host:
        return host
    connected(literal.address, port, host)
    return literal.address
