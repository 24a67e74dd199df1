"""Sockets for trying things out that never get a port that was asked about.

A port that the system chooses may be any of some 28,000, so the one that was asked about, too:
Linux 6.3 lets a socket say of which it may be (``IP_LOCAL_PORT_RANGE``, ip(7)).
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable
from itertools import pairwise

from dsadapter.doctor.findings import Question
from dsadapter.sockets.system_settings import setting_text

# Python has no name for it. It works on AF_INET6 sockets, too.
_IP_LOCAL_PORT_RANGE = 51
_PRIVILEGED = 1024


class CannotKeepOffError(Exception):
    """The system might choose a port that was asked about, so nothing was tried."""


def chosen_ports() -> tuple[int, int] | None:
    """The first and the last port that the system chooses by itself; None where it says nothing."""
    try:
        first, last = map(int, (setting_text("ipv4/ip_local_port_range") or "").split())
    except ValueError:
        return None
    return first, last


def keeping_off(question: Question) -> Callable[[socket.socket], None]:
    """What to call with each socket before it is bound to port 0, connects or sends.

    The function raises :class:`CannotKeepOffError`.
    """
    asked = sorted({port.number for port in question.ports})
    around = chosen_ports()
    if around is not None:
        asked = [number for number in asked if around[0] <= number <= around[1]]
    elif not sys.platform.startswith("linux"):
        asked = [number for number in asked if number >= _PRIVILEGED]
    if not asked:
        return lambda sock: None
    if around is None:
        return _refuse
    bounds = [around[0] - 1, *asked, around[1] + 1]
    length, first = max((b - a - 1, a + 1) for a, b in pairwise(bounds))
    if length < 1:
        return _refuse
    value = struct.pack("=I", (first + length - 1) << 16 | first)

    def keep_off(sock: socket.socket) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_IP, _IP_LOCAL_PORT_RANGE, value)
        except OSError as error:
            raise CannotKeepOffError(_WHY) from error

    return keep_off


_WHY = "this system can't keep a socket off the ports that were asked about (Linux 6.3 can)"


def _refuse(sock: socket.socket) -> None:
    raise CannotKeepOffError(_WHY)
