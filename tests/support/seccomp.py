"""Run a command with address families, socket options or calls really taken away by a seccomp
filter.

    python seccomp.py [--deny-family FAMILY=ERRNO] [--deny-option LEVEL,OPTION=ERRNO]
        [--deny-clearing LEVEL,OPTION=ERRNO] [--deny-call NAME=ERRNO] -- COMMAND...

The filter is inherited; it needs no privileges. A filter can't see the value that an option is set
to, so ``--deny-clearing`` has the kernel ask a process beside the command, which reads its memory
(``seccomp_unotify(2)``): that takes root.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import platform
import signal
import struct
import sys
from pathlib import Path

from dsadapter.testing.denied_options import (
    ARGUMENT,
    BPF_JUMP_EQUAL,
    BPF_LOAD,
    BPF_RETURN,
    NUMBER,
    SECCOMP_RET_ERRNO,
    SYSCALLS,
    Instruction,
    deny_option,
    install,
    on_option,
)

if sys.platform != "win32":
    import fcntl

PR_SET_PDEATHSIG = 1
SECCOMP_FILTER_FLAG_NEW_LISTENER = 1 << 3
SECCOMP_RET_USER_NOTIF = 0x7FC00000
# ioctl(2) of a listener: with a struct seccomp_notif, and with a struct seccomp_notif_resp.
NOTIFICATION, RECEIVE = struct.Struct("=QIIiIQ6Q"), 0xC0502100
RESPONSE, SEND = struct.Struct("=QqiI"), 0xC0182101
SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1
CALLS = {
    "x86_64": {
        "accept4": 288,
        "recvmmsg": 299,
        "recvmsg": 47,
        "sendmsg": 46,
        "epoll_ctl": 233,
        "getsockopt": 55,
        "sendto": 44,
    },
    "aarch64": {
        "accept4": 242,
        "recvmmsg": 243,
        "recvmsg": 212,
        "sendmsg": 211,
        "epoll_ctl": 21,
        "getsockopt": 209,
        "sendto": 206,
    },
}


def without(*denials: str) -> tuple[str, ...]:
    """The words to put before a command: ``without("--deny-family=10=EAFNOSUPPORT")``."""
    return (sys.executable, str(Path(__file__)), *denials, "--")


def _program(
    families: list[tuple[int, int]],
    options: list[tuple[int, int, int]],
    clearings: list[tuple[int, int, int]],
    calls: list[tuple[str, int]],
    watched: tuple[str, ...] = (),
) -> list[Instruction]:
    socket_number = SYSCALLS[platform.machine()][0]
    code: list[Instruction] = []
    for family, error in families:
        code += [
            (BPF_LOAD, 0, 0, NUMBER),
            (BPF_JUMP_EQUAL, 0, 3, socket_number),
            (BPF_LOAD, 0, 0, ARGUMENT),
            (BPF_JUMP_EQUAL, 0, 1, family),
            (BPF_RETURN, 0, 0, SECCOMP_RET_ERRNO | error),
        ]
    refused = [(level, option, SECCOMP_RET_ERRNO | error) for level, option, error in options]
    asked = [(level, option, SECCOMP_RET_USER_NOTIF) for level, option, _ in clearings]
    for level, option, action in (*refused, *asked):
        code += on_option(level, option, action)
    for call, error in calls:
        code += [
            (BPF_LOAD, 0, 0, NUMBER),
            (BPF_JUMP_EQUAL, 0, 1, CALLS[platform.machine()][call]),
            (BPF_RETURN, 0, 0, SECCOMP_RET_ERRNO | error),
        ]
    for call in watched:
        code += [
            (BPF_LOAD, 0, 0, NUMBER),
            (BPF_JUMP_EQUAL, 0, 1, CALLS[platform.machine()][call]),
            (BPF_RETURN, 0, 0, SECCOMP_RET_USER_NOTIF),
        ]
    return code


def deny_option_in_this_thread(level: int, option: int, error: int) -> None:
    """Have ``setsockopt`` of one option fail from here on, in this thread and those it starts."""
    deny_option(level, option, error)


def watch(*calls: str) -> int:
    """Have the kernel ask before each such call of this thread; where it asks."""
    return install(_program([], [], [], [], calls), SECCOMP_FILTER_FLAG_NEW_LISTENER)


def call_name(number: int) -> str:
    """The name of a system call that can be denied or watched."""
    return next(name for name, known in CALLS[platform.machine()].items() if known == number)


def _supervise(listener: int, clearings: list[tuple[int, int, int]]) -> None:
    """Decide, in a process of its own that ends with this one, what the kernel asks."""
    parent = os.getpid()
    if os.fork():
        os.close(listener)
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)
    # Whoever reads what the command writes waits for the end of all its writers.
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    errors = {(level, option): error for level, option, error in clearings}
    while True:
        notification = bytearray(NOTIFICATION.size)
        try:
            fcntl.ioctl(listener, RECEIVE, notification)
            call, process, *_, level, option, value, length, _ = NOTIFICATION.unpack(notification)
            with open(f"/proc/{process}/mem", "rb") as memory:
                memory.seek(value)
                cleared = not any(memory.read(length))
            answer = (0, -errors[level, option], 0)
            fcntl.ioctl(
                listener,
                SEND,
                RESPONSE.pack(
                    call, *(answer if cleared else (0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE))
                ),
            )
        except FileNotFoundError:
            # The process has gone.
            continue


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--deny-family", action="append", default=[])
    parser.add_argument("--deny-option", action="append", default=[])
    parser.add_argument("--deny-clearing", action="append", default=[])
    parser.add_argument("--deny-call", action="append", default=[])
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    families = []
    for denial in arguments.deny_family:
        family, _, name = denial.partition("=")
        families.append((int(family), getattr(errno, name)))
    options = [_option(denial) for denial in arguments.deny_option]
    clearings = [_option(denial) for denial in arguments.deny_clearing]
    calls = []
    for denial in arguments.deny_call:
        call, _, name = denial.partition("=")
        calls.append((call, getattr(errno, name)))
    program = _program(families, options, clearings, calls)
    if clearings:
        _supervise(install(program, SECCOMP_FILTER_FLAG_NEW_LISTENER), clearings)
    else:
        install(program)
    os.execvp(arguments.command[0], arguments.command)


def _option(denial: str) -> tuple[int, int, int]:
    option, _, name = denial.partition("=")
    level, _, number = option.partition(",")
    return int(level), int(number), getattr(errno, name)


if __name__ == "__main__":
    main()
