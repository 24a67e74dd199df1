"""Twisted's reactors as a covered process has them: wildcards are served natively."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

from twisted.internet.error import CannotListenError

from dsadapter.addressing.text import unmap_text
from dsadapter.frameworks.twisted import (
    DualStackDatagramEndpoint,
    DualStackServerEndpoint,
    adopters,
)
from dsadapter.launcher.binding import load_later_modules
from dsadapter.launcher.listening import watch_widened
from dsadapter.launcher.listing import Entry, connected, list_entry
from dsadapter.launcher.own_sockets import has
from dsadapter.launcher.receiving import entry_of
from dsadapter.launcher.report import say, settings
from dsadapter.listener import announced_elsewhere
from dsadapter.policy import Family, socket_name
from dsadapter.sockets.options import read_v6only

_WILDCARDS = {"": socket.AF_INET, "0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}


def listen_tcp(original: Any, module: Any) -> Any:
    """A listener on ``::`` is one of ours."""

    def listenTCP(
        self: Any, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> Any:
        if settings().merge_pairs:
            return _listen_merging(original, self, port, factory, backlog, interface)
        return _listen_tcp(original, self, port, factory, backlog, interface)

    return listenTCP


def _listen_merging(
    original: Any, self: Any, port: int, factory: Any, backlog: int, interface: str
) -> Any:
    from dsadapter.launcher import merged_ports

    merged_ports.release(port)
    number = _WILDCARDS.get(interface)
    if number is None or settings().spares(port) is not None:
        return _listen_tcp(original, self, port, factory, backlog, interface)
    family: Family = "ipv4" if number == socket.AF_INET else "ipv6"
    made = merged_ports.join(self, port, factory, backlog, family)
    if made is None:
        made = _listen_tcp(
            merged_ports.listen_ipv4 if family == "ipv4" else original,
            self,
            port,
            factory,
            backlog,
            interface,
            merged_ports.IPv6Endpoint,
        )
    merged_ports.remember(made, family)
    return made


def _listen_tcp(
    original: Any,
    self: Any,
    port: int,
    factory: Any,
    backlog: int,
    interface: str,
    endpoint_class: type[DualStackServerEndpoint] = DualStackServerEndpoint,
) -> Any:
    widens, why = _decided(port, interface, socket.SOCK_STREAM)
    if widens is None:
        return original(self, port, factory, backlog, interface)
    endpoint = endpoint_class(self, port, backlog=backlog, fallback="fail")
    try:
        with announced_elsewhere():
            made: Any = endpoint._listen(factory)
    except CannotListenError as error:
        if not widens:
            raise
        # Without us it may succeed.
        say(f"port {port} stays as the program makes it: {error.socketError}")
        return original(self, port, factory, backlog, interface)
    host = made.getHost()
    address = socket_name(host.host, host.port)
    done = "widened" if widens else "translated"
    entry = Entry(address, "dual-stack", done, why)
    entry.ipv4 = None
    list_entry(entry)
    if widens:
        watch_widened(made.socket, _WILDCARDS[interface], entry)
        say(f"{address} serves IPv4 and IPv6 (process {os.getpid()})")
    if endpoint_class is not DualStackServerEndpoint:
        made.launched = entry
    return made


def listen_udp(original: Any, module: Any) -> Any:
    """A port on ``::`` that serves both families is one of ours."""

    def listenUDP(
        self: Any,
        port: int,
        protocol: Any,
        interface: str = "",
        maxPacketSize: int = 8192,
    ) -> Any:
        widens, _ = _decided(port, interface, socket.SOCK_DGRAM)
        if widens is not False:
            return original(self, port, protocol, interface, maxPacketSize)
        endpoint = DualStackDatagramEndpoint(
            self, port, maxPacketSize=maxPacketSize, fallback="fail"
        )
        with announced_elsewhere():
            made: Any = endpoint._listen(protocol)
        list_entry(entry_of(made.socket, made.counters))
        return made

    return listenUDP


def adopt_stream_port(original: Any, module: Any) -> Any:
    """A descriptor has the family that the kernel says, and its peers are canonical."""

    def adoptStreamPort(self: Any, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        return _adopted(
            addressFamily,
            lambda: adopters.adoptStreamPort(self, fileDescriptor, factory),
            lambda: original(self, fileDescriptor, addressFamily, factory),
        )

    return adoptStreamPort


def adopt_stream_connection(original: Any, module: Any) -> Any:
    """The same of one connection."""

    def adoptStreamConnection(
        self: Any,
        fileDescriptor: int,
        addressFamily: int,
        factory: Any,
    ) -> Any:
        return _adopted(
            addressFamily,
            lambda: adopters.adoptStreamConnection(self, fileDescriptor, factory),
            lambda: original(self, fileDescriptor, addressFamily, factory),
        )

    return adoptStreamConnection


def adopt_datagram_port(original: Any, module: Any) -> Any:
    """The same of a socket for datagrams."""

    def adoptDatagramPort(
        self: Any,
        fileDescriptor: int,
        addressFamily: int,
        protocol: Any,
        maxPacketSize: int = 8192,
    ) -> Any:
        return _adopted(
            addressFamily,
            lambda: adopters.adoptDatagramPort(self, fileDescriptor, protocol, maxPacketSize),
            lambda: original(self, fileDescriptor, addressFamily, protocol, maxPacketSize),
        )

    return adoptDatagramPort


_adopting: ContextVar[bool] = ContextVar("_adopting", default=False)


def _adopted(family: int, ours: Callable[[], Any], original: Callable[[], Any]) -> Any:
    # Ours may ask a reactor to adopt what it has made of it.
    if family not in (socket.AF_INET, socket.AF_INET6) or _adopting.get():
        return original()
    token = _adopting.set(True)
    try:
        with announced_elsewhere():
            return ours()
    except (OSError, ValueError):
        # What can't be adopted fails as it did.
        return original()
    finally:
        _adopting.reset(token)


def connect_tcp(original: Any, module: Any) -> Any:
    """A mapped literal is IPv4."""

    def connectTCP(self: Any, host: Any, *args: Any, **options: Any) -> Any:
        with suppress(TypeError, ValueError):
            given, host = host, unmap_text(host)
            if host != given:
                connected(host, args[0] if args else options.get("port"), given)
        return original(self, host, *args, **options)

    return connectTCP


def _decided(port: int, interface: str, kind: int) -> tuple[bool | None, str]:
    """Whether a listener is widened, or serves both families without that; None for one that is
    none of ours; and why."""
    load_later_modules()
    family = _WILDCARDS.get(interface)
    if family is None:
        return None, "bound to one address"
    if family == socket.AF_INET6 and _is_dual(kind):
        return False, "the program serves both families"
    chosen = settings()
    if kind != socket.SOCK_STREAM or (family == socket.AF_INET and not chosen.widen):
        return None, "IPv4; --widen widens it"
    if (option := chosen.spares(port)) is not None:
        return None, option
    other = socket.AF_INET6 if family == socket.AF_INET else socket.AF_INET
    if port and has(other, port):
        return None, "the program has the other family's, too"
    return True, "asked for by dsadapter run"


def _is_dual(kind: int) -> bool:
    try:
        with socket.socket(socket.AF_INET6, kind) as sock:
            return not read_v6only(sock)
    except OSError:
        return False
