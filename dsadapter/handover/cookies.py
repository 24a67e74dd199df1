"""SYN cookies: handshakes of which the kernel keeps nothing (``net.ipv4.tcp_syncookies``; Linux).

The last packet of such a handshake is not found by its addresses, so it comes to whatever is new,
and is answered with a reset there, unless that has sent cookies itself in the last two minutes
(``tcp_synq_no_recent_overflow`` in include/net/tcp.h), for itself or another of its group.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from dsadapter.handover.classic_bpf import attach
from dsadapter.handover.looking import SOCKET_MEMORY, looked_at
from dsadapter.handover.places import place_of
from dsadapter.sockets.handing_on import HasDescriptor
from dsadapter.sockets.options import NO_PACKET_FILTER, PACKET_FILTER, read_v6only, set_option

# As this thread's network namespace has it.
_SETTING = Path("/proc/sys/net/ipv4/tcp_syncookies")
_ALWAYS = "2"

_LOAD_FLAGS = 0x30, 0, 0, 13
"""Of the TCP header, with which a listening socket's packets begin for a program."""
_IF_SYN_ELSE_SKIP = 0x45, 0, 1, 0x02
_DROP = 0x06, 0, 0, 0
_TAKE = 0x06, 0, 0, 0xFFFFFFFF

# The last number of SOCKET_MEMORY: how many packets a socket, or its program, has dropped.
_DROPPED = struct.Struct("=32xI")

ROUND_TRIP = 0.2
"""Seconds for the last packet of most handshakes to come; what comes later comes to what is new,
which takes it then."""
_LOOK = 0.001


@contextmanager
def without_losing_cookies(
    old: Sequence[HasDescriptor], new: Sequence[HasDescriptor]
) -> Iterator[None]:
    """Around parking: have the new sockets take the cookies that the old ones have sent.

    Where the system answers every SYN with a cookie, the old ones answer none for a moment before,
    which lets handshakes that are under way end; those clients send theirs again after a second.
    Then each new one is sent a SYN, of which its server sees nothing. Elsewhere, it does nothing.

    :param old: those that will be parked.
    :param new: those that get what is new.
    """
    with ExitStack() as deaf:
        if old and _always():
            for sock in old:
                deaf.enter_context(_deaf_to_syn(sock))
            time.sleep(ROUND_TRIP)
        yield
        if old:
            take_cookies(new)


def take_cookies(sockets: Sequence[HasDescriptor]) -> None:
    """Have listening sockets that get what is new take the cookies of others, where the system
    answers every SYN with one: by a SYN to each place."""
    if sockets and _always():
        for sock in {place_of(each): each for each in sockets}.values():
            with looked_at(sock) as looked:
                if looked.type == socket.SOCK_STREAM:
                    # All of them are one group's: the first that is answered will do.
                    any(_knock(family, door) for family, door in _doors(looked))


def _always() -> bool:
    try:
        return _SETTING.read_text(encoding="utf-8").strip() == _ALWAYS
    except OSError:
        return False


@contextmanager
def _deaf_to_syn(sock: HasDescriptor) -> Iterator[None]:
    with looked_at(sock) as looked:
        if looked.type != socket.SOCK_STREAM or _has_filter(looked):
            yield
            return
        # Connections that it accepts meanwhile keep the program, which has no SYN to drop there.
        with suppress(OSError):
            attach(looked, PACKET_FILTER, (_LOAD_FLAGS, _IF_SYN_ELSE_SKIP, _DROP, _TAKE))
        try:
            yield
        finally:
            with suppress(OSError):
                set_option(looked, NO_PACKET_FILTER, 0)


def _has_filter(sock: socket.socket) -> bool:
    """Whether its server has it run a program already: without a buffer, Linux says how long."""
    length = ctypes.c_uint(0)
    getsockopt = ctypes.CDLL(None).getsockopt
    number = PACKET_FILTER.number
    failed = getsockopt(sock.fileno(), socket.SOL_SOCKET, number, None, ctypes.byref(length))
    return bool(failed or length.value)


def _doors(sock: socket.socket) -> list[tuple[int, tuple[object, ...]]]:
    """Where something on this machine that is new would come to a socket from."""
    host, port, *scope = sock.getsockname()
    ipv4 = (socket.AF_INET, ("127.0.0.1", port))
    if host == "0.0.0.0":
        return [ipv4]
    if host == "::":
        ipv6 = (socket.AF_INET6, ("::1", port))
        return [ipv6] if read_v6only(sock) else [ipv6, ipv4]
    return [(sock.family, (host, port, *scope))]


def _knock(family: int, door: tuple[object, ...]) -> bool:
    """Send a SYN, and nothing else ever; whether it was answered."""
    try:
        client = socket.socket(family)
    except OSError:
        return False
    with client, suppress(OSError):
        client.setblocking(False)
        attach(client, PACKET_FILTER, (_DROP,))
        end = time.monotonic() + ROUND_TRIP
        if client.connect_ex(door) not in (0, errno.EINPROGRESS):
            return False
        while not (answered := _dropped(client)) and time.monotonic() < end:
            time.sleep(_LOOK)
        return bool(answered)
    return False


def _dropped(sock: socket.socket) -> int:
    data = sock.getsockopt(socket.SOL_SOCKET, SOCKET_MEMORY, _DROPPED.size)
    return int(_DROPPED.unpack(data)[0]) if len(data) == _DROPPED.size else 0
