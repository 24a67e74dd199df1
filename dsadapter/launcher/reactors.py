"""Twisted's reactors as a covered process has them: wildcards are served natively."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any

from twisted.internet.error import CannotListenError

from dsadapter.addressing.text import unmap_text
from dsadapter.frameworks.twisted import DualStackDatagramEndpoint, DualStackServerEndpoint
from dsadapter.frameworks.twisted.addresses import stream_address
from dsadapter.launcher.deciding import families_on
from dsadapter.launcher.report import Entry, list_listener, say, settings
from dsadapter.policy import socket_name
from dsadapter.sockets.options import read_v6only

_WILDCARDS = {"": socket.AF_INET, "0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}


def listen_tcp(original: Any, module: Any) -> Any:
    """A listener on ``::`` is one of ours."""

    def listenTCP(  # noqa: N802
        self: Any, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> Any:
        widens, why = _decided(port, interface, socket.SOCK_STREAM)
        if widens is None:
            made = original(self, port, factory, backlog, interface)
            _show_canonical(made)
            return made
        endpoint = DualStackServerEndpoint(self, port, backlog=backlog, fallback="fail")
        try:
            made = endpoint._listen(factory)
        except CannotListenError as error:
            if not widens:
                raise
            # Without us it may succeed.
            say(f"port {port} stays as the program makes it: {error.socketError}")
            return original(self, port, factory, backlog, interface)
        host: Any = made.getHost()
        address = socket_name(host.host, host.port)
        done = "widened" if widens else "translated"
        entry = Entry(address, "dual-stack", done, why)
        entry.ipv4 = None
        list_listener(entry)
        if widens:
            say(f"{address} serves IPv4 and IPv6 (process {os.getpid()})")
        return made

    return listenTCP


def listen_udp(original: Any, module: Any) -> Any:
    """A port on ``::`` that serves both families is one of ours."""

    def listenUDP(  # noqa: N802
        self: Any,
        port: int,
        protocol: Any,
        interface: str = "",
        maxPacketSize: int = 8192,  # noqa: N803
    ) -> Any:
        widens, _ = _decided(port, interface, socket.SOCK_DGRAM)
        if widens is not False:
            return original(self, port, protocol, interface, maxPacketSize)
        endpoint = DualStackDatagramEndpoint(
            self, port, maxPacketSize=maxPacketSize, fallback="fail"
        )
        return endpoint._listen(protocol)

    return listenUDP


def adopt_stream_port(original: Any, module: Any) -> Any:
    """A descriptor has the family that the kernel says, and its peers are canonical."""

    def adoptStreamPort(self: Any, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:  # noqa: N802, N803
        if addressFamily in (socket.AF_INET, socket.AF_INET6):
            with socket.socket(fileno=os.dup(fileDescriptor)) as probe:
                addressFamily = probe.family  # noqa: N806
        made = original(self, fileDescriptor, addressFamily, factory)
        _show_canonical(made)
        return made

    return adoptStreamPort


def connect_tcp(original: Any, module: Any) -> Any:
    """A mapped literal is IPv4."""

    def connectTCP(self: Any, host: Any, *args: Any, **options: Any) -> Any:  # noqa: N802
        with suppress(TypeError, ValueError):
            host = unmap_text(host)
        return original(self, host, *args, **options)

    return connectTCP


def _decided(port: int, interface: str, kind: int) -> tuple[bool | None, str]:
    """Whether a listener is widened, or serves both families without that; None for one that is
    none of ours; and why."""
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
    if port and other in families_on(port):
        return None, "the program has the other family's, too"
    return True, "asked for by dsadapter run"


def _is_dual(kind: int) -> bool:
    try:
        with socket.socket(socket.AF_INET6, kind) as sock:
            return not read_v6only(sock)
    except OSError:
        return False


def _show_canonical(port: Any) -> None:
    if getattr(port, "addressFamily", None) == socket.AF_INET6 and hasattr(port, "_buildAddr"):
        port._buildAddr = stream_address
