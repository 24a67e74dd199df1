"""Address families in the numbers of the socket module."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence

from dsadapter.messages import Message, quoted
from dsadapter.policy import Family

_FAMILIES: dict[int, Family | None] = {
    int(socket.AF_UNSPEC): None,
    int(socket.AF_INET): "ipv4",
    int(socket.AF_INET6): "ipv6",
}

BY_NUMBER: Mapping[str, str] = {
    "family='ipv4'": "family=socket.AF_INET",
    "family='ipv6'": "family=socket.AF_INET6",
}
"""For :func:`~dsadapter.errors.spelling`: families as users of a framework that takes numbers
type them."""


def family_of(number: int) -> Family | None:
    """The family that a number means; None for both.

    :raises ValueError: for what is no family of ours.
    """
    try:
        return _FAMILIES[number]
    except (KeyError, TypeError):
        raise ValueError(
            Message(
                "{family} {value} is none of AF_UNSPEC, AF_INET and AF_INET6", value=quoted(number)
            )
        ) from None


def number_of(families: Sequence[Family]) -> int:
    """What to ask a resolver for, to get addresses of these families."""
    if len(families) != 1:
        return socket.AF_UNSPEC
    return socket.AF_INET if families[0] == "ipv4" else socket.AF_INET6
