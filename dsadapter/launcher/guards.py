"""Why a framework can't be covered, where only looking at its module tells."""

from __future__ import annotations

import socket
from typing import Any

from dsadapter.launcher.table import ELSEWHERE


def trio_is_late(module: Any) -> str | None:
    """Trio takes ``accept`` and its like from ``socket.socket`` when it is imported."""
    wrapped = module._SocketType._accept.__closure__ or ()
    if any(cell.cell_contents is socket.socket.accept for cell in wrapped):
        return None
    return "it was imported first; call dsadapter.launcher.install() before it is"


def accepts_elsewhere(module: Any) -> str:
    """A server that Python sees nothing of."""
    return out_of_reach(module.__name__)


def out_of_reach(name: str) -> str:
    """What there is to say of such a server, by the name of its module."""
    return (
        f"it accepts connections in {ELSEWHERE[name]}, out of reach; wrap its "
        f"application in dsadapter.asgi.CanonicalAddresses or dsadapter.wsgi.CanonicalAddresses, "
        f"or ask dsadapter.addressing.unmap for each address that it shows"
    )
