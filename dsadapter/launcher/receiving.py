"""``bind`` of a socket for datagrams as a covered process has it: listed, checked and watched by
plugins. It stays the program's own, with its v6-only flag."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from operator import index
from typing import Any, Literal, NamedTuple, cast

from dsadapter.addressing.literal import packed_literal
from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.errors import PluginError
from dsadapter.hooks.dispatch import Hooks
from dsadapter.hooks.manager import active_hooks
from dsadapter.launcher.datagrams import exchange_of
from dsadapter.launcher.listing import DATAGRAMS, Entry, end, forget, list_entry
from dsadapter.launcher.methods import closed, endings
from dsadapter.launcher.report import settings
from dsadapter.listener import Listener, announced_elsewhere
from dsadapter.policy import DatagramPolicy, ListenMode, socket_name
from dsadapter.ready.ready_socket import FRAMEWORK
from dsadapter.sockets.canonical import CanonicalSocket, canonical_name, family_number
from dsadapter.sockets.ifaddrs import zoned
from dsadapter.sockets.listening import Listening
from dsadapter.sockets.options import read_v6only

_LAST_PORT = 65535
_INET6 = int(socket.AF_INET6)
_ANY = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}


def bind(sock: Any, address: Any, original: Callable[[Any, Any], None]) -> None:
    """Bind a socket for datagrams, of either family.

    :raises OSError: as ``bind``; ``PermissionError`` if a plugin refuses, or a required one is
        missing.
    """
    try:
        life = _bound(sock, address, original)
    except PluginError as error:
        raise PermissionError(errno.EPERM, str(error)) from error
    entry = None
    if settings().explains:
        is_ipv6 = family_number(sock) == _INET6
        entry = entry_of(sock, exchange_of(sock).counters if is_ipv6 else None)
        list_entry(entry)
    if life is None and entry is None:
        return
    fd = sock.fileno()
    if fd in endings:
        # It was closed where nobody sees that, and its number has come again.
        closed(fd)
    endings[fd] = os.getpid(), _Ending(life, entry)
    if life is not None:
        life.opened()


class _Ending(NamedTuple):
    """Told when a socket is closed."""

    life: Listener | None
    entry: Entry | None

    def __call__(self) -> None:
        if self.entry is not None:
            end(self.entry)
        if self.life is not None:
            self.life.closed()


def pass_on(sock: Any) -> None:
    """Somebody else receives by a socket from now on, and lists it."""
    known = endings.pop(sock.fileno(), None)
    ending = None if known is None else known[1]
    if isinstance(ending, _Ending):
        if ending.entry is not None:
            forget(ending.entry)
        if ending.life is not None:
            ending.life.closed()


def _bound(sock: Any, address: Any, original: Callable[[Any, Any], None]) -> Listener | None:
    """Bind; what plugins are told of, if there is one that wants to be asked or told."""
    if not _asked(active_hooks()) or not isinstance(address, tuple) or len(address) < 2:
        original(sock, address)
        return None
    host, port, *rest = address
    port = index(port)
    if not 0 <= port <= _LAST_PORT or len(rest) > 2 or (isinstance(host, str) and "\0" in host):
        # Which it refuses.
        original(sock, address)
        return None
    # Plugins allow an address, so it has to be the one that is bound to.
    wire = _resolved(sock, host, port, *rest)
    policy = _policy(sock, wire)

    def opening(hooks: Hooks) -> Listening:
        if hooks.before_bind is not None:
            hooks.before_bind(sock, policy)
        original(sock, wire)
        return Listening(policy.mode, (cast(CanonicalSocket, sock),), None)

    with announced_elsewhere():
        life = Listener(FRAMEWORK, policy)
    life.open(opening)
    return life


def wanted() -> bool:
    """Whether anybody wants to know of a socket that is bound.

    :raises PluginError: if a required plugin is missing.
    """
    return settings().explains or _asked(active_hooks())


def _asked(hooks: Hooks) -> bool:
    return bool(hooks.before_bind or hooks.listener_opened or hooks.listener_closed)


def _resolved(sock: Any, host: Any, port: Any, *rest: Any) -> SocketAddress:
    family = family_number(sock)
    if isinstance(host, (bytes, bytearray)):
        host = host.decode(errors="surrogateescape")
    host = host or _ANY[socket.AddressFamily(family)]
    with suppress(ValueError):
        packed = packed_literal(host)
        if packed is not None:
            if family != _INET6 and len(packed) == 4:
                return (socket.inet_ntoa(packed), port)
            if family == _INET6 and len(packed) == 16:
                return (host, port, *rest, *(0, 0)[len(rest) :])
            if family == _INET6:
                return (f"::ffff:{socket.inet_ntoa(packed)}", port, 0, 0)
    found = socket.getaddrinfo(host, port, family, sock.type, sock.proto)
    return found[0][4]


def _policy(sock: Any, wire: SocketAddress) -> DatagramPolicy:
    host, port = zoned(canonical_name(wire))[:2]
    v6only = host == "::" and read_v6only(sock)
    return DatagramPolicy(host, port, family="ipv6" if v6only else None)


def entry_of(sock: Any, counters: Any) -> Entry:
    """What is listed of a socket for datagrams.

    :param counters: those of who receives by it.
    """
    name = sock.getsockname()
    host, port = name[:2]
    mode: ListenMode
    done: Literal["left", "translated"] = "left"
    if sock.family != socket.AF_INET6:
        mode, why = "ipv4", "a socket for IPv4"
    elif len(name) == 2:
        mode, done, why = "ipv4", "translated", "bound to an IPv4 address"
    elif host != "::":
        mode, why = "ipv6", "bound to one address"
    elif read_v6only(sock):
        mode, why = "ipv6", "one for datagrams keeps its v6-only flag"
    else:
        mode, done, why = "dual-stack", "translated", "the program serves both families"
    return Entry(socket_name(host, port), mode, done, why, what=DATAGRAMS, counters=counters)
