"""Run a command with address families, socket options or calls really taken away by a seccomp
filter.

    python seccomp.py [--deny-family FAMILY=ERRNO] [--deny-option LEVEL,OPTION=ERRNO]
        [--deny-call NAME=ERRNO] -- COMMAND...

The filter is set with ``prctl(2)`` and inherited; it needs no privileges.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import platform
import struct
import sys
from pathlib import Path

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ERRNO = 0x00050000
SECCOMP_RET_ALLOW = 0x7FFF0000
BPF_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
BPF_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
BPF_RETURN = 0x06  # BPF_RET | BPF_K
# Offsets in struct seccomp_data; the low halves of the arguments on a little-endian machine.
NUMBER = 0
ARGUMENT = 16
# socket, setsockopt
SYSCALLS = {"x86_64": (41, 54), "aarch64": (198, 208)}
CALLS = {"x86_64": {"recvmmsg": 299}, "aarch64": {"recvmmsg": 243}}


def without(*denials: str) -> tuple[str, ...]:
    """The words to put before a command: ``without("--deny-family=10=EAFNOSUPPORT")``."""
    return (sys.executable, str(Path(__file__)), *denials, "--")


def _program(
    families: list[tuple[int, int]],
    options: list[tuple[int, int, int]],
    calls: list[tuple[str, int]],
) -> list[bytes]:
    socket_number, setsockopt_number = SYSCALLS[platform.machine()]
    code: list[tuple[int, int, int, int]] = []
    for family, error in families:
        code += [
            (BPF_LOAD, 0, 0, NUMBER),
            (BPF_JUMP_EQUAL, 0, 3, socket_number),
            (BPF_LOAD, 0, 0, ARGUMENT),
            (BPF_JUMP_EQUAL, 0, 1, family),
            (BPF_RETURN, 0, 0, SECCOMP_RET_ERRNO | error),
        ]
    for level, option, error in options:
        code += [
            (BPF_LOAD, 0, 0, NUMBER),
            (BPF_JUMP_EQUAL, 0, 5, setsockopt_number),
            (BPF_LOAD, 0, 0, ARGUMENT + 8),
            (BPF_JUMP_EQUAL, 0, 3, level),
            (BPF_LOAD, 0, 0, ARGUMENT + 16),
            (BPF_JUMP_EQUAL, 0, 1, option),
            (BPF_RETURN, 0, 0, SECCOMP_RET_ERRNO | error),
        ]
    for call, error in calls:
        code += [
            (BPF_LOAD, 0, 0, NUMBER),
            (BPF_JUMP_EQUAL, 0, 1, CALLS[platform.machine()][call]),
            (BPF_RETURN, 0, 0, SECCOMP_RET_ERRNO | error),
        ]
    code.append((BPF_RETURN, 0, 0, SECCOMP_RET_ALLOW))
    return [struct.pack("=HBBI", *instruction) for instruction in code]


def _install(program: list[bytes]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    instructions = ctypes.create_string_buffer(b"".join(program))
    descriptor = struct.pack("@HP", len(program), ctypes.addressof(instructions))
    filter_ = ctypes.create_string_buffer(descriptor)
    for arguments in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filter_), 0, 0),
    ):
        if libc.prctl(*arguments):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--deny-family", action="append", default=[])
    parser.add_argument("--deny-option", action="append", default=[])
    parser.add_argument("--deny-call", action="append", default=[])
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    families = []
    for denial in arguments.deny_family:
        family, _, name = denial.partition("=")
        families.append((int(family), getattr(errno, name)))
    options = []
    for denial in arguments.deny_option:
        option, _, name = denial.partition("=")
        level, _, number = option.partition(",")
        options.append((int(level), int(number), getattr(errno, name)))
    calls = []
    for denial in arguments.deny_call:
        call, _, name = denial.partition("=")
        calls.append((call, getattr(errno, name)))
    _install(_program(families, options, calls))
    os.execvp(arguments.command[0], arguments.command)


if __name__ == "__main__":
    main()
