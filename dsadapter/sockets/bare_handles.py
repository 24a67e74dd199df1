"""Who accepts or receives from the bare handle of a socket, past its methods, and so would see
IPv4-mapped addresses: asyncio's Proactor loop, Windows' own, and loops that are compiled (uvloop).

They ask the object for a few things in passing, which is when the one is refused and the others are
warned of.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable
from types import FrameType, FunctionType
from typing import Any

from dsadapter.sockets.options import read_v6only

_SERVERS = (
    "asyncio.base_events",
    {
        "create_server": "create_server",
        "create_datagram_endpoint": "create_datagram_endpoint",
    },
)
_LOOP = (
    "asyncio.windows_events",
    {
        "accept": "create_server",
        "recvfrom": "create_datagram_endpoint",
        "recvfrom_into": "create_datagram_endpoint",
    },
)
"""Where they are defined: by the function that asks, which one of ours does its work."""


def refuse_servers(sock: socket.socket, asker: FrameType) -> None:
    """Refuse a function of the running loop that is to serve a socket, if the loop is one that
    does so past the socket's methods.

    :param asker: the frame that asks the socket for something.
    :raises OSError: ``EOPNOTSUPP``, with what to call instead.
    """
    module, functions = _SERVERS
    if asker.f_globals.get("__name__") == module and asker.f_code.co_name in functions:
        loops = sys.modules.get(_LOOP[0])
        running = sys.modules["asyncio"].get_running_loop()
        if loops is not None and isinstance(running, loops.ProactorEventLoop):
            _refuse(sock, functions[asker.f_code.co_name])


def refuse_loop(sock: socket.socket, asker: FrameType) -> None:
    """Refuse such a loop itself, as for :func:`refuse_servers`."""
    module, functions = _LOOP
    if asker.f_globals.get("__name__") == module and asker.f_code.co_name in functions:
        _refuse(sock, functions[asker.f_code.co_name])


def compiled_loop(asker: FrameType) -> str | None:
    """The name of the running loop's class, if it is a compiled one that asks a socket for
    non-blocking mode, as it does before it serves that.

    :param asker: the frame that seems to ask. What is compiled has none: this is the one that the
        loop was called from, whose line says nothing of that mode.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    kind = type(asyncio._get_running_loop())
    # None has no such method.
    if isinstance(getattr(kind, "create_server", compiled_loop), FunctionType):
        return None
    import dis

    for instruction in dis.get_instructions(asker.f_code):
        position = instruction.positions
        if instruction.argval == "setblocking" and position and position.lineno == asker.f_lineno:
            return None
    return f"{kind.__module__}.{kind.__qualname__}"


def _refuse(sock: socket.socket, function: str) -> None:
    accept: Callable[..., Any] = sys.modules[_LOOP[0]].IocpProactor.accept
    # In a process that the launcher covers, whatever the loop makes is canonical.
    if hasattr(accept, "_dsadapter_replaces") or not _shows_mapped(sock):
        return
    raise OSError(
        errno.EOPNOTSUPP,
        f"the Proactor loop reads the bare handle of {sock!r}, and would show IPv4 peers as "
        f"IPv4-mapped addresses; call dsadapter.frameworks.asyncio.{function}(..., sock=sock), or "
        f"run on an asyncio.SelectorEventLoop",
    )


def _shows_mapped(sock: socket.socket) -> bool:
    try:
        return read_v6only(sock) is False
    except OSError:
        # It is closed, and shows nothing.
        return False
