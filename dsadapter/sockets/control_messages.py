"""Control buffers of Linux (``cmsg(3)``) and of Winsock, which have one layout. Pure."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

Message = tuple[int, int, bytes]
"""Level, type and data, as ``socket.recvmsg`` has them."""

MSG_DONTWAIT = int(getattr(socket, "MSG_DONTWAIT", 0x40))
"""Linux's number where there is none, as on Windows, whose own ``recvmsg`` here knows it."""

_HEADER = struct.Struct("@Nii")
"""Linux's ``struct cmsghdr`` and Winsock's ``WSACMSGHDR``: the length with this header, a
``size_t``; level; type."""
_ALIGNMENT = struct.calcsize("@N")


def split(control: bytes) -> list[Message]:
    """The messages in a control buffer; none if any of them is cut short.

    :param control: the bytes that the system has filled.
    """
    messages = []
    offset = 0
    end = len(control)
    while end - offset >= _HEADER.size:
        length, level, kind = _HEADER.unpack_from(control, offset)
        if not _HEADER.size <= length <= end - offset:
            return []
        messages.append((level, kind, control[offset + _HEADER.size : offset + length]))
        offset += -(-length // _ALIGNMENT) * _ALIGNMENT
    # The last message may go without padding, which puts the offset beyond the end.
    return messages if offset >= end else []


def join(messages: Iterable[Message]) -> bytes:
    """The control buffer that holds these messages, each with its padding."""
    control = bytearray()
    for level, kind, data in messages:
        control += _HEADER.pack(_HEADER.size + len(data), level, kind) + data
        control += bytes(-len(control) % _ALIGNMENT)
    return bytes(control)
