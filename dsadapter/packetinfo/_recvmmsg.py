"""The C library's ``recvmmsg`` (Linux): many datagrams in one call, into buffers that are reused.

``ctypes`` is imported when the first batch is received, not before.
"""

from __future__ import annotations

import errno
import os
import struct
from functools import cache
from typing import Any

from dsadapter.parameters import LONGEST_PACKET

CONTROL_SIZE = 256
"""Bytes for the control messages of one datagram: those that are asked for take 120 at most."""
NAME_SIZE = 32
"""Bytes for a socket address, of which ``struct sockaddr_in6`` takes 28."""

_MAX_SLOTS = 64
_MAX_BYTES = 256 * 1024
STRIDE = NAME_SIZE + CONTROL_SIZE


class BatchUnavailableError(Exception):
    """There is no such function, or no ctypes to call it with."""


@cache
def _library() -> tuple[Any, Any, struct.Struct]:
    """The function, the array element's type, and how to read what it returns in one element.

    :raises BatchUnavailableError: if there is no such function.
    """
    try:
        import ctypes

        function = ctypes.CDLL(None, use_errno=True).recvmmsg
    except (ImportError, OSError, AttributeError) as error:
        raise BatchUnavailableError(str(error)) from error

    # As in glibc; musl's has paddings where the halves of the long integers are zero.
    class IOVector(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    class Header(ctypes.Structure):
        _fields_ = (
            ("name", ctypes.c_void_p),
            ("name_length", ctypes.c_uint),
            ("vectors", ctypes.POINTER(IOVector)),
            ("vector_count", ctypes.c_size_t),
            ("control", ctypes.c_void_p),
            ("control_length", ctypes.c_size_t),
            ("flags", ctypes.c_int),
        )

    class Slot(ctypes.Structure):
        _fields_ = (("header", Header), ("vector", IOVector), ("length", ctypes.c_uint))

    class Element(ctypes.Structure):
        _fields_ = (("header", Header), ("length", ctypes.c_uint))

    # No argtypes: converting five arguments takes a third of the call.
    function.restype = ctypes.c_int
    offsets = [Header.control_length.offset, Header.flags.offset, Element.length.offset]
    formats = ["Q" if ctypes.sizeof(ctypes.c_size_t) == 8 else "I", "i", "I"]
    layout, position = "=", 0
    for offset, form in zip(offsets, formats, strict=True):
        layout += f"{offset - position}x{form}"
        position = offset + struct.calcsize(f"={form}")
    layout += f"{ctypes.sizeof(Element) - position}x"
    return function, (Element, IOVector), struct.Struct(layout)


Received = tuple[bytes, int, bytes]
"""The socket address (:data:`NAME_SIZE` bytes) with the control messages after it, the flags, and
the payload."""


class Batch:
    """Buffers for the datagrams of one socket.

    ``call(descriptor, address, limit, MSG_DONTWAIT, None)`` receives what waits, at most ``limit``
    datagrams, which is at most as many as slots, and gives their number; fewer than ``limit`` mean
    that no more were waiting. Whoever calls it reads a single datagram himself, because frames of
    Python take longer than all else: ``read_first(first)`` gives the length of its control
    messages, its flags and the length of its payload, which are at the beginning of ``envelopes``
    and ``payloads``; then ``first[:] = fresh``.

    :param max_packet_size: how many bytes of each datagram are kept.
    :raises BatchUnavailableError: if there is no such function.
    """

    def __init__(self, max_packet_size: int) -> None:
        self.call, (element, vector), self._layout = _library()
        import ctypes

        self._get_errno = ctypes.get_errno
        self.size = min(max_packet_size, LONGEST_PACKET)
        self.slots = max(1, min(_MAX_SLOTS, _MAX_BYTES // self.size))
        # Untouched pages of a large buffer take no memory.
        payloads = bytearray(self.slots * self.size)
        envelopes = bytearray(self.slots * STRIDE)
        payload = ctypes.addressof(ctypes.c_char.from_buffer(payloads))
        envelope = ctypes.addressof(ctypes.c_char.from_buffer(envelopes))
        elements = (element * self.slots)()
        self._vectors = (vector * self.slots)()
        for index in range(self.slots):
            self._vectors[index].base = payload + index * self.size
            self._vectors[index].length = self.size
            header = elements[index].header
            header.name = envelope + index * STRIDE
            header.name_length = NAME_SIZE
            header.vectors = ctypes.pointer(self._vectors[index])
            header.vector_count = 1
            header.control = envelope + index * STRIDE + NAME_SIZE
            header.control_length = CONTROL_SIZE
        self.address = ctypes.c_void_p(ctypes.addressof(elements))
        self._element_size = ctypes.sizeof(element)
        self._elements = memoryview(elements).cast("B")
        self._fresh = bytes(self._elements)
        self.payloads = memoryview(payloads)
        self.envelopes = memoryview(envelopes)
        self.read_first = self._layout.unpack
        self.first = self._elements[: self._element_size]
        self.fresh = self._fresh[: self._element_size]

    def failure(self) -> OSError | None:
        """What :attr:`call` has failed with when it gave less than 0; None if a signal has
        interrupted it, and it is to be called again."""
        number = self._get_errno()
        return None if number == errno.EINTR else OSError(number, os.strerror(number))

    def take(self, count: int) -> list[Received]:
        """What :attr:`call` has received.

        :param count: what it gave.
        """
        end = count * self._element_size
        elements = self._elements
        payloads = self.payloads
        envelopes = self.envelopes[: count * STRIDE].tobytes()
        size = self.size
        received = []
        place = start = 0
        for control_length, flags, length in self._layout.iter_unpack(elements[:end]):
            received.append(
                (
                    envelopes[place : place + NAME_SIZE + control_length],
                    flags,
                    payloads[start : start + length].tobytes(),
                )
            )
            place += STRIDE
            start += size
        # The kernel has written to the lengths.
        elements[:end] = self._fresh[:end]
        return received
