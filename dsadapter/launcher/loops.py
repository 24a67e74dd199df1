"""A loop that reads names from bare descriptors, uvloop, as a covered process has it.

Its servers accept as those of :mod:`dsadapter.frameworks.asyncio` do on it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

from dsadapter.addressing.literal import parse_literal
from dsadapter.errors import PluginError
from dsadapter.frameworks.asyncio.client.stream_client import (
    create_connection as connect_on_ours,
)
from dsadapter.frameworks.asyncio.datagram.datagram_creation import (
    create_datagram_endpoint as exchange_on_ours,
)
from dsadapter.frameworks.asyncio.loop_sockets import AcceptingSocket
from dsadapter.frameworks.asyncio.server.stream_server import DualStackServer
from dsadapter.frameworks.asyncio.transports import canonical_factory, shows_its_names
from dsadapter.hooks.manager import active_hooks
from dsadapter.launcher.listing import DATAGRAMS, Entry, connected, list_entry
from dsadapter.launcher.methods import listeners
from dsadapter.launcher.receiving import wanted
from dsadapter.launcher.report import settings
from dsadapter.listener import Listener
from dsadapter.policy import socket_name
from dsadapter.ready.ready_socket import ReadySocket, taking_the_place_of, watched
from dsadapter.sockets.canonical import CanonicalSocket, take_ipv4_form
from dsadapter.sockets.options import REUSE_ADDRESS, read_v6only, set_option, set_v6only

_INTERNET = (socket.AF_INET, socket.AF_INET6)
# What asyncio.Server and connect_accepted_socket take beside; the rest is about opening.
_SERVING = ("ssl_handshake_timeout", "ssl_shutdown_timeout")


def create_server(original: Any, module: Any) -> Any:
    """It accepts from sockets of its own, which are widened when they listen."""

    async def create_server(
        self: Any, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        given = options.get("sock")
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
        return await _serve(self, protocol_factory, sockets, given is not None, options)

    return create_server


async def _serve(
    loop: Any, factory: Any, sockets: Sequence[Any], given: bool, options: dict[str, Any]
) -> DualStackServer:
    ready: list[ReadySocket] = []
    lives: list[Listener] = []
    try:
        for sock in sockets:
            sock.listen(options.get("backlog", 100))
            # The program may ask the one that it gave for its name.
            own = CanonicalSocket(fileno=os.dup(sock.fileno()) if given else sock.detach())
            known = listeners.get(sock.fileno() if given else own.fileno())
            if known is not None and known.life is not None:
                known.entry.ipv4 = None
                ready += watched(known.life, [own], AcceptingSocket)
                known.sock = weakref.ref(ready[-1])
            else:
                ready.append(taking_the_place_of(own, AcceptingSocket))
        server = _Server(loop, ready, lives)
        server.given = sockets if given else ()
        serving = {name: options[name] for name in _SERVING if name in options}
        await server._prepare(factory, options.get("backlog", 100), options.get("ssl"), serving)
    except BaseException:
        for sock in (*ready, *(() if given else sockets)):
            sock.close()
        raise
    if options.get("start_serving", True):
        await server.start_serving()
    return server


class _Server(DualStackServer):
    given: Sequence[Any] = ()

    def close(self) -> None:
        super().close()
        for sock in self.given:
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
        return await original(self, protocol_factory, _unmapped(host, port), port, **options)

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


def create_datagram_endpoint(original: Any, module: Any) -> Any:
    """One that is bound to ``::`` and serves both families has its senders translated."""

    async def create_datagram_endpoint(
        self: Any, protocol_factory: Any, local_addr: Any = None, **options: Any
    ) -> Any:
        remote = options.get("remote_addr")
        wildcard = isinstance(local_addr, tuple) and local_addr[0] == "::"
        if wildcard and remote is None and not options.get("reuse_port") and _is_dual():
            allowed = {k: options[k] for k in ("family", "allow_broadcast") if k in options}
            if allowed.get("family") == socket.AF_INET6:
                # Which is no reason to leave IPv4 out, for a socket.
                del allowed["family"]
            made = await exchange_on_ours(protocol_factory, local_addr[:2], **allowed)
            host, port = made[0].get_extra_info("sockname")[:2]
            why = "the program serves both families"
            entry = Entry(socket_name(host, port), "dual-stack", "translated", why, what=DATAGRAMS)
            entry.ipv4 = None
            list_entry(entry)
            return made
        if isinstance(remote, tuple):
            options["remote_addr"] = (_unmapped(*remote[:2]), *remote[1:])
        elif isinstance(local_addr, tuple) and options.get("sock") is None and _is_wanted():
            # libuv's own bind asks nobody.
            options["sock"] = await _bound_for_datagrams(self, local_addr, options)
            return await original(self, protocol_factory, **options)
        return await original(self, protocol_factory, local_addr, **options)

    return create_datagram_endpoint


async def _bound_for_datagrams(loop: Any, address: Any, options: dict[str, Any]) -> Any:
    """The socket that uvloop binds for datagrams; takes out of its options what that is for.

    :raises OSError: as ``loop.create_datagram_endpoint``.
    """
    names = ("family", "proto", "flags")
    family, proto, flags = (options.pop(name, 0) for name in names)
    reuse_port, broadcast = options.pop("reuse_port", None), options.pop("allow_broadcast", None)
    options.pop("reuse_address", None)
    found = await loop.getaddrinfo(
        *address[:2], family=family, type=socket.SOCK_DGRAM, proto=proto, flags=flags
    )
    problem = OSError(f"could not bind to local_addr {address!r}")
    for each in found:
        sock = socket.socket(*each[:3])
        try:
            sock.setblocking(False)
            if reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if broadcast:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.bind(each[4])
        except OSError as error:
            sock.close()
            problem = error
        else:
            return sock
    raise problem


def _is_wanted() -> bool:
    try:
        return wanted()
    except PluginError as error:
        raise PermissionError(errno.EPERM, str(error)) from error


def _is_dual() -> bool:
    """Whether this machine's AF_INET6 sockets serve both families without being told."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        return not read_v6only(sock)


def _is_stream(sock: Any) -> bool:
    return sock.family in _INTERNET and sock.type == socket.SOCK_STREAM


def _unmapped(host: Any, port: Any) -> Any:
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
