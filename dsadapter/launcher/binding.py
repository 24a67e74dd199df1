"""``bind`` as a covered process has it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

from dsadapter.errors import PluginError
from dsadapter.hooks.manager import active_hooks
from dsadapter.launcher.methods import listeners
from dsadapter.launcher.report import settings
from dsadapter.sockets.canonical import family_number
from dsadapter.sockets.options import REUSE_PORT, set_option

_LATER = ("connecting", "datagrams", "listening", "own_sockets", "receiving")
_INET6 = int(socket.AF_INET6)


def load_later_modules() -> None:
    """Import what a process may need once it has given up its right to read files."""
    for module in _LATER:
        import_module(f"dsadapter.launcher.{module}")


def share_port(sock: Any) -> None:
    """Have a stream socket that is about to be bound share its port, if that is asked for.

    :raises OSError: as ``setsockopt``.
    """
    if settings().reuse_port and sock.type == socket.SOCK_STREAM:
        set_option(sock, REUSE_PORT, 1)


def bind(sock: Any, address: Any, original: Callable[[Any, Any], None]) -> None:
    """Bind a socket of either family; before that make room, or ask for packet information.

    :raises OSError: as ``bind``; ``PermissionError`` if a plugin refuses a socket for datagrams.
    """
    kind = sock.type
    if kind == socket.SOCK_DGRAM:
        named = None
        if family_number(sock) == _INET6:
            from dsadapter.launcher.datagrams import exchange_of

            named = exchange_of(sock).named
        from dsadapter.launcher import receiving

        receiving.bind(sock, address, original)
        if named is not None:
            named.serves = address[1] != 0
        return
    if kind == socket.SOCK_STREAM:
        share_port(sock)
        port = address[1] if isinstance(address, tuple) and len(address) > 1 else 0
        if listeners and isinstance(port, int) and port:
            from dsadapter.launcher.listening import make_room

            make_room(sock, port)
    original(sock, address)
    if kind == socket.SOCK_STREAM:
        # The program may give up its right to read files before it listens: nothing is to be
        # imported after that, and what is wrong with a plugin is said then.
        load_later_modules()
        from dsadapter.launcher.own_sockets import remember_bound

        remember_bound(sock)
        with suppress(PluginError):
            active_hooks()
