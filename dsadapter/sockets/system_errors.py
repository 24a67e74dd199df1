"""The error that a number of the system means."""

from __future__ import annotations

import os
import socket

_WINSOCK: dict[int, str] = getattr(socket, "errorTab", {})
"""Winsock's texts, which ``os.strerror`` on Windows has not."""


def system_error(number: int) -> OSError:
    """An ``OSError`` of the class that goes with an ``errno``, with the system's text; on Windows
    one of Winsock's has a ``winerror``, too."""
    text = _WINSOCK.get(number)
    if text is None:
        return OSError(number, os.strerror(number))
    return OSError(0, text.removesuffix("."), None, number)
