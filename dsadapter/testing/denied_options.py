"""Socket options that the kernel really refuses, by a seccomp filter (``seccomp(2)``); Linux only.

It needs no privileges, and can't be taken away again: processes and threads inherit it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

PR_SET_NO_NEW_PRIVS = 38
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_RET_ERRNO = 0x00050000
SECCOMP_RET_ALLOW = 0x7FFF0000
BPF_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
BPF_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
BPF_RETURN = 0x06  # BPF_RET | BPF_K
# Offsets in struct seccomp_data; the low halves of the arguments on a little-endian machine.
NUMBER = 0
ARGUMENT = 16
# socket, setsockopt, seccomp
SYSCALLS = {"x86_64": (41, 54, 317), "aarch64": (198, 208, 277)}

Instruction = tuple[int, int, int, int]


def on_option(level: int, option: int, action: int) -> list[Instruction]:
    """What a filter does about ``setsockopt`` of one option; other calls go on to what follows."""
    return [
        (BPF_LOAD, 0, 0, NUMBER),
        (BPF_JUMP_EQUAL, 0, 5, SYSCALLS[platform.machine()][1]),
        (BPF_LOAD, 0, 0, ARGUMENT + 8),
        (BPF_JUMP_EQUAL, 0, 3, level),
        (BPF_LOAD, 0, 0, ARGUMENT + 16),
        (BPF_JUMP_EQUAL, 0, 1, option),
        (BPF_RETURN, 0, 0, action),
    ]


def install(program: list[Instruction], flags: int = 0) -> int:
    """Filter the calls of this thread, and of those that it starts from here on; what no
    instruction is about is allowed.

    :raises OSError: as ``seccomp``.
    """
    code = [*program, (BPF_RETURN, 0, 0, SECCOMP_RET_ALLOW)]
    libc = ctypes.CDLL(None, use_errno=True)
    packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
    instructions = ctypes.create_string_buffer(packed)
    descriptor = struct.pack("@HP", len(code), ctypes.addressof(instructions))
    filter_ = ctypes.create_string_buffer(descriptor)
    if not libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        seccomp = SYSCALLS[platform.machine()][2]
        done: int = libc.syscall(seccomp, SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(filter_))
        if done >= 0:
            return done
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))


def deny_option(level: int, option: int, error: int) -> None:
    """Have ``setsockopt`` of one option fail with an errno.

    :raises OSError: as ``seccomp``.
    """
    install(on_option(level, option, SECCOMP_RET_ERRNO | error))
