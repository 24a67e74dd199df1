"""Old sockets, until nothing waits in them any more."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress

from dsadapter.handover.looking import SOCKET_MEMORY, looked_at
from dsadapter.sockets.accept_queue import accept_queue
from dsadapter.sockets.handing_on import HasDescriptor
from dsadapter.sockets.kernel_tables import HANDSHAKE, tcp_rows

_NUMBER = struct.Struct("=I")

HANDSHAKES = 3.0
"""Seconds: what is lost on the way is sent again after one, and then after two more (RFC 6298)."""


class Draining:
    """Old sockets, which nothing new comes to any more; go on accepting, or reading, meanwhile.

    :param sockets: listening ones, or datagram sockets.
    :param handshakes: how many seconds at most to wait for handshakes that are under way when this
        is made (``SYN_RECV`` in ``/proc/net/tcp``); each completes into the queue of the socket
        that its SYN came to.
    """

    def __init__(self, sockets: Sequence[HasDescriptor], *, handshakes: float = HANDSHAKES) -> None:
        self._sockets = tuple(sockets)
        self._empty = 0
        self._under_way: set[tuple[str, str]] = set()
        self._patience = time.monotonic() + handshakes
        if handshakes > 0:
            self._ports = {port for sock in sockets if (port := _listening_port(sock))}
            self._under_way = self._handshakes()

    def look(self) -> bool:
        """Whether nothing has waited now and the time before: then they can close.

        :raises OSError: ``EOPNOTSUPP`` where the system does not tell.
        """
        waiting = any(map(_waiting, self._sockets))
        if self._under_way and not waiting:
            # One that completes now is seen in the queue by the next look.
            self._under_way &= self._handshakes()
            waiting = bool(self._under_way) and time.monotonic() < self._patience
        self._empty = 0 if waiting else self._empty + 1
        return self._empty > 1

    def _handshakes(self) -> set[tuple[str, str]]:
        # Where no table can be read, the time between two looks has to do.
        with suppress(OSError):
            return {
                (row.local, row.remote) for row in tcp_rows(HANDSHAKE) if row.port in self._ports
            }
        return set()


def drain(sockets: Sequence[HasDescriptor], *, pause: float = 0.2, timeout: float = 30.0) -> bool:
    """Wait until old sockets can close, while another thread accepts; see :class:`Draining` for
    event loops.

    :param pause: seconds between two looks.
    :param timeout: seconds to wait at most.
    :returns: whether they can; False if connections wait still.
    :raises OSError: ``EOPNOTSUPP`` where the system does not tell.
    """
    return wait_for(Draining(sockets), pause=pause, timeout=timeout)


def wait_for(draining: Draining, *, pause: float, timeout: float) -> bool:
    """Look again and again; whether the sockets can close in time."""
    end = time.monotonic() + timeout
    while not draining.look():
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
    return True


def _waiting(sock: HasDescriptor) -> int:
    with looked_at(sock) as looked:
        if looked.type == socket.SOCK_DGRAM:
            return int(_NUMBER.unpack(looked.getsockopt(socket.SOL_SOCKET, SOCKET_MEMORY, 4))[0])
        return accept_queue(looked).length


def _listening_port(sock: HasDescriptor) -> int:
    with looked_at(sock) as looked:
        return int(looked.getsockname()[1]) if looked.type == socket.SOCK_STREAM else 0
