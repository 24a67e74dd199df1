"""``connect`` as a covered process has it."""

from __future__ import annotations

import _socket
import errno
import socket
from contextlib import suppress
from typing import Any

from dsadapter.addressing.literal import packed_literal
from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.errors import PluginError, RefusedError
from dsadapter.hooks.manager import active_hooks
from dsadapter.launcher import report
from dsadapter.launcher.listing import connected
from dsadapter.ready.ready_socket import FRAMEWORK
from dsadapter.records import Attempt, Refusal
from dsadapter.sockets.canonical import canonical_name, family_number
from dsadapter.sockets.ifaddrs import zoned
from dsadapter.sockets.options import read_v6only, set_v6only

_INET6, _STREAM = int(socket.AF_INET6), int(socket.SOCK_STREAM)
_type: Any = _socket.socket.type.__get__


def destination(sock: Any, address: Any) -> Any:
    """What the kernel takes for a destination, on this socket; plugins have allowed it.

    An IPv4 address, plain or mapped, is IPv4 on a socket of either family.

    :param address: as ``connect`` takes it.
    :raises PermissionError: if a plugin refuses, or a required one is missing.
    """
    if not (isinstance(address, tuple) and len(address) >= 2 and isinstance(address[0], str)):
        return address
    host, port = address[:2]
    try:
        packed = packed_literal(host)
    except ValueError:
        packed = None
    stream = _type(sock) == _STREAM
    if packed is not None and len(packed) == 4:
        text = socket.inet_ntoa(packed)
        if family_number(sock) == _INET6:
            if stream and read_v6only(sock):
                # One that is bound says no, and so does the kernel then.
                with suppress(OSError):
                    set_v6only(sock, False)
                    _handed_over(sock, host)
            address = (f"::ffff:{text}", port, 0, 0)
            connected(text, port, host)
        elif text != host:
            _handed_over(sock, host)
            address = (text, port)
            connected(text, port, host)
    if not stream:
        return address
    try:
        hooks = active_hooks()
        if hooks.before_connect is None:
            return address
        if packed is None and host:
            # Plugins allow an address, so it has to be the one that is connected to.
            address = _resolved(sock, host, port)
        shown = zoned(canonical_name(_complete(sock, address)))
        try:
            hooks.before_connect(sock, Attempt(FRAMEWORK, host, shown))
        except RefusedError as error:
            if hooks.operation_refused is not None:
                refusal = Refusal(FRAMEWORK, "connect", shown, error.plugin, error.reason)
                hooks.operation_refused(refusal)
            raise
    except PluginError as error:
        raise PermissionError(errno.EPERM, str(error)) from error
    return address


def _handed_over(sock: Any, host: str) -> None:
    """Tell the guard of what is translated; it sees the rest itself."""
    if report.handed_over is not None and ":" in host:
        report.handed_over(sock, host, "connect", translated=True)


def _complete(sock: Any, address: SocketAddress) -> SocketAddress:
    if family_number(sock) != _INET6:
        return address[:2]
    return (*address, *(0, 0)[len(address) - 2 :])


def _resolved(sock: Any, host: str, port: Any) -> SocketAddress:
    found = socket.getaddrinfo(host, port, family_number(sock), sock.type, sock.proto)
    return found[0][4]
