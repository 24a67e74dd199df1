"""Programs that a socket runs on packets (classic BPF; linux/filter.h, linux/bpf_common.h)."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence

from dsadapter.sockets.options import SocketOption, set_option

Instruction = tuple[int, int, int, int]
"""Code, the two ways to jump, and a number."""

_INSTRUCTION = struct.Struct("=HBBI")
_PROGRAM = struct.Struct("@HP")


def attach(sock: socket.socket, option: SocketOption, program: Sequence[Instruction]) -> None:
    """Have a socket run a program.

    :param option: which says what for.
    :raises OSError: as ``setsockopt``.
    """
    code = b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    set_option(sock, option, _PROGRAM.pack(len(program), ctypes.addressof(buffer)))
