"""Restart a server without losing a connection: new ones go to the new sockets, the old queue is
seen empty, then the old sockets close (Linux).

Closing alone resets what waits in the queue of the socket. Needs no right but that to share the
port, by ``reuse_port``, with a socket of the same user.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from dsadapter.sockets.accept_queue import accept_queue
from dsadapter.sockets.handing_on import HasDescriptor
from dsadapter.sockets.options import REUSE_PORT_FILTER, set_option

__all__ = ["Draining", "drain", "steer"]

# Classic BPF (linux/filter.h, linux/bpf_common.h).
_RANDOM = 0x20, 0, 0, 0xFFFFF000 + 56
_MODULO = 0x94
_ADD = 0x04
_RETURN = 0x16, 0, 0, 0
_INSTRUCTION = struct.Struct("=HBBI")
_PROGRAM = struct.Struct("@HP")

_TABLES = {socket.AF_INET: Path("/proc/net/tcp"), socket.AF_INET6: Path("/proc/net/tcp6")}
_LISTENING = "0A"


def steer(sockets: Sequence[HasDescriptor], *, others: int | None = None) -> None:
    """Have new connections go to these sockets, at random, and to no other of their port.

    :param sockets: listening ones of one address, one family and one ``IPV6_V6ONLY``, with
        ``SO_REUSEPORT``, that have listened after all others; a pair's sockets are two calls.
    :param others: how many others there are; None to count them.
    :raises OSError: as ``setsockopt`` (``SO_ATTACH_REUSEPORT_CBPF``); ``EOPNOTSUPP`` where the
        system has no such thing.
    """
    if REUSE_PORT_FILTER.number is None or not sys.platform.startswith("linux"):
        raise OSError(
            errno.EOPNOTSUPP,
            "this system can't choose among sockets of one port; pass the old ones on instead",
        )
    with _looked_at(sockets[0]) as first:
        before = _others(first, sockets) if others is None else others
        # A socket's number in its group is how many have begun to listen before it.
        program = b"".join(
            _INSTRUCTION.pack(*instruction)
            for instruction in (
                _RANDOM,
                (_MODULO, 0, 0, len(sockets)),
                (_ADD, 0, 0, before),
                _RETURN,
            )
        )
        buffer = ctypes.create_string_buffer(program, len(program))
        count = len(program) // _INSTRUCTION.size
        set_option(first, REUSE_PORT_FILTER, _PROGRAM.pack(count, ctypes.addressof(buffer)))


class Draining:
    """Old sockets, which no new connection comes to any more; go on accepting meanwhile.

    :param sockets: listening ones.
    """

    def __init__(self, sockets: Sequence[HasDescriptor]) -> None:
        self._sockets = tuple(sockets)
        self._empty = 0

    def look(self) -> bool:
        """Whether no connection has waited now and the time before: then they can close.

        Between two looks a handshake that was under way completes: leave as much time as the
        slowest client's packets take.

        :raises OSError: ``EOPNOTSUPP`` where the system does not tell.
        """
        self._empty = 0 if any(map(_waiting, self._sockets)) else self._empty + 1
        return self._empty > 1


def drain(sockets: Sequence[HasDescriptor], *, pause: float = 0.2, timeout: float = 30.0) -> bool:
    """Wait until old sockets can close, while another thread accepts; see :class:`Draining` for
    event loops.

    :param pause: seconds between two looks.
    :param timeout: seconds to wait at most.
    :returns: whether they can; False if connections wait still.
    :raises OSError: ``EOPNOTSUPP`` where the system does not tell.
    """
    draining = Draining(sockets)
    end = time.monotonic() + timeout
    while not draining.look():
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
    return True


def _looked_at(sock: HasDescriptor) -> socket.socket:
    # Of the kernel's family, and closed without harm to the caller's.
    return socket.socket(fileno=os.dup(sock.fileno()))


def _waiting(sock: HasDescriptor) -> int:
    with _looked_at(sock) as looked_at:
        return accept_queue(looked_at).length


def _others(first: socket.socket, ours: Sequence[HasDescriptor]) -> int:
    """How many sockets listen where some of ours do, without those."""
    inodes = {str(os.fstat(sock.fileno()).st_ino) for sock in ours}
    address, rows = None, []
    with _TABLES[first.family].open() as table:
        next(table, None)
        for line in table:
            fields = line.split()
            if fields[3] == _LISTENING:
                rows.append((fields[1], fields[9]))
                if fields[9] in inodes:
                    address = fields[1]
    return sum(where == address and inode not in inodes for where, inode in rows)
