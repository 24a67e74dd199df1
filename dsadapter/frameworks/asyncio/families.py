"""Address families as asyncio's users give them."""

from __future__ import annotations

import socket

from dsadapter.messages import quoted
from dsadapter.policy import Family

_FAMILIES: dict[int, Family | None] = {
    int(socket.AF_UNSPEC): None,
    int(socket.AF_INET): "ipv4",
    int(socket.AF_INET6): "ipv6",
}


def family_of(number: int) -> Family | None:
    """The family that a number means; None for both.

    :raises ValueError: for what is no family of ours.
    """
    try:
        return _FAMILIES[number]
    except (KeyError, TypeError):
        raise ValueError(
            f"family {quoted(number)} is none of AF_UNSPEC, AF_INET and AF_INET6"
        ) from None
