"""Taking what waits for a listening socket by the C library's ``accept4`` (Linux), many in a turn:
Python's own makes a text of every name, which takes a third of an accept.

``ctypes`` is imported when the first batch is made, not before.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable
from functools import cache
from itertools import chain, islice, repeat, takewhile
from typing import Any

from dsadapter.addressing.mapped import MAPPED_PREFIX
from dsadapter.addressing.sockaddr import SocketAddress
from dsadapter.policy import Family
from dsadapter.records import family_of
from dsadapter.sockets.canonical import (
    ONE_CONNECTION,
    accept_descriptor,
    canonical_name,
    family_number,
)

LARGEST = 64
"""How many are taken in a turn at most."""

# struct sockaddr_in6 has 28 bytes: family, port, flow info, address and scope id.
_STRIDE = 32
_PREFIXES = struct.Struct("=8x12s12x")
_NAMES = struct.Struct(f"={_STRIDE}s")
_INET6 = int(socket.AF_INET6)
_CLOSE_ON_EXEC = int(getattr(socket, "SOCK_CLOEXEC", 0))
# A BSD names no peer that has gone, and would leave that of an earlier one.
_NAMES_EVERY_PEER = sys.platform.startswith("linux")
_is_descriptor = (0).__le__


class Taken:
    """Connections that have been accepted.

    :param names: as the kernel has written them, :data:`_STRIDE` bytes each.
    """

    __slots__ = ("_names", "_texts", "descriptors", "error", "mapped")

    def __init__(self, descriptors: list[int], names: bytes) -> None:
        self.descriptors = descriptors
        """Non-inheritable; they are the caller's to close."""
        self.mapped = [prefix == MAPPED_PREFIX for [prefix] in _PREFIXES.iter_unpack(names)]
        """Of each, whether the kernel names its peer by an IPv4-mapped address."""
        self.error: OSError | None = None
        """What has kept others from being accepted; None if no more waited than were asked for."""
        self._names = names
        self._texts: list[SocketAddress] = []

    def add(self, descriptor: int, name: SocketAddress) -> None:
        """One more, which Python has accepted."""
        self.descriptors.append(descriptor)
        self._texts.append(canonical_name(name))
        self.mapped.append(self._texts[-1] is not name)

    @property
    def names(self) -> list[SocketAddress | bytes]:
        """The address of each peer, canonical or for :func:`peer_of`."""
        # What Python has accepted comes last.
        return [*chain.from_iterable(_NAMES.iter_unpack(self._names)), *self._texts]

    @property
    def families(self) -> list[Family]:
        """The family of each peer."""
        number = len(self._names) // _STRIDE
        by_kernel: list[Family] = ["ipv4" if m else "ipv6" for m in self.mapped[:number]]
        return by_kernel + [family_of(name) for name in self._texts]


def peer_of(name: bytes) -> SocketAddress:
    """The canonical address of a peer.

    :param name: as the kernel has written it.
    """
    port = int.from_bytes(name[2:4])
    if name[8:20] == MAPPED_PREFIX:
        return socket.inet_ntop(socket.AF_INET, name[20:24]), port
    [scope_id] = struct.unpack_from("@I", name, 24)
    host = socket.inet_ntop(socket.AF_INET6, name[8:24])
    return host, port, int.from_bytes(name[4:8]), scope_id


class AcceptBatch:
    """Buffers for the names of the connections of one listening socket.

    :param sock: it stays the caller's.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        call = accept4() if family_number(sock) == _INET6 else None
        self._call: Callable[..., int] | None = call
        if call is None:
            return
        import ctypes

        buffer = bytearray(LARGEST * _STRIDE)
        whole = (ctypes.c_char * len(buffer)).from_buffer(buffer)
        self._names = [ctypes.byref(whole, start) for start in range(0, len(buffer), _STRIDE)]
        # The kernel writes how long a name is: here always as long.
        self._length = ctypes.byref(ctypes.c_uint(_STRIDE))
        self._buffer = memoryview(buffer)

    def take(self, most: int) -> Taken:
        """Accept what waits.

        :param most: how many to try to accept, at most :data:`LARGEST`.
        """
        sock, call = self._socket, self._call
        descriptors: list[int] = []
        names = b""
        if call is not None:
            taking = map(
                call,
                repeat(sock.fileno()),
                islice(self._names, most),
                repeat(self._length),
                repeat(_CLOSE_ON_EXEC),
            )
            descriptors += takewhile(_is_descriptor, taking)
            names = self._buffer[: len(descriptors) * _STRIDE].tobytes()
        taken = Taken(descriptors, names)
        # Python's own says why there was none. Failures count: a sandbox may refuse every one.
        for _ in range(len(descriptors), most):
            try:
                descriptor, name = accept_descriptor(sock)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in ONE_CONNECTION:
                    continue
                taken.error = error
                break
            if name is None:
                # As peer_gone has it.
                socket.close(descriptor)
            else:
                taken.add(descriptor, name)
        return taken


@cache
def accept4() -> Any:
    """The function; None where there is none, or no ctypes to call it with."""
    if not _NAMES_EVERY_PEER:
        return None
    try:
        import ctypes

        # Lets other threads run, one of which may be who decides about the call (seccomp_unotify).
        function = ctypes.CDLL(None).accept4
    except (ImportError, OSError, AttributeError):
        return None
    # No argtypes: converting the arguments takes longer than to pass them.
    function.restype = ctypes.c_int
    return function
