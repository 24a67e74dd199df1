"""A server that replaces its own sockets, under mypy strict."""

from __future__ import annotations

import asyncio
import socket

from dsadapter.handover import Succession, can_unpark, replace, unsteer
from dsadapter.sockets.listening import listening_socket


def go_dual_stack(old: list[socket.socket], port: int) -> bool:
    new = listening_socket("::", port, reuse_port=True)
    replace(old, new)  # type: ignore[arg-type]
    replace(old, [new], 0.2)  # type: ignore[call-arg]
    done: bool = replace(old, [new], pause=0.2, timeout=10, one_way=not can_unpark())
    return done


async def go_on(old: asyncio.Server, new: asyncio.Server) -> None:
    succession = Succession([*old.sockets], [*new.sockets])
    succession.start(handshakes=1.0)
    while not succession.look():
        await asyncio.sleep(0.2)
    old.close()
    succession.finish()
    unsteer([*new.sockets])
