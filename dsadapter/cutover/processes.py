"""Other processes: their relatives, their descriptors, and sockets borrowed from them (proc(5))."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import shlex
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from dsadapter.cutover.errors import CutoverError
from dsadapter.processes import PROC, process_numbers

# PF_KTHREAD of linux/sched.h.
_KERNEL_THREAD = 0x00200000
# The same number on every machine (Linux 5.6); Python has no function for it.
_PIDFD_GETFD = 438
_SHOWN = 80


class Relation(NamedTuple):
    """How a process stands to others."""

    parent: int
    session: int
    started: int
    """In clock ticks since the machine was started."""


class Process:
    """A process that is running, and no other one that gets its number later.

    :raises CutoverError: if there is none.
    """

    def __init__(self, pid: int) -> None:
        try:
            self._descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            raise CutoverError(f"there is no process {pid}; 'ss -ltnp' shows who listens") from None
        except OSError as error:
            raise CutoverError(
                f"process {pid} can't be held: {error.strerror}; a cut-over takes Linux 5.6 or "
                f"newer"
            ) from None
        self.pid = pid

    def __str__(self) -> str:
        return f"process {self.pid} ({command_line(self.pid)})"

    def __del__(self) -> None:
        with suppress(OSError, AttributeError):
            os.close(self._descriptor)

    def is_running(self) -> bool:
        """Whether it has not ended."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return not poll.poll(0)

    def send(self, number: int) -> None:
        """Send it a signal, unless it has ended; 0 to see whether it may be.

        :raises PermissionError: if it may not be.
        """
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    def borrow(self, descriptor: int, inode: int) -> socket.socket | None:
        """A duplicate of one of its sockets; None if it has closed that one meanwhile.

        :raises PermissionError: without the right to trace it (ptrace(2)).
        """
        syscall = ctypes.CDLL(None, use_errno=True).syscall
        number = syscall(_PIDFD_GETFD, self._descriptor, descriptor, 0)
        if number < 0:
            code = ctypes.get_errno()
            if code in (errno.EBADF, errno.ESRCH):
                return None
            raise OSError(code, os.strerror(code))
        if os.fstat(number).st_ino != inode:
            os.close(number)
            return None
        return socket.socket(fileno=number)


def command_line(pid: int) -> str:
    """What a process was started as, shortened."""
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        line = shlex.join(map(os.fsdecode, words)) if any(words) else _name(pid)
    except OSError:
        return "ended"
    return line if len(line) <= _SHOWN else line[: _SHOWN - 3] + "..."


def _name(pid: int) -> str:
    return (PROC / str(pid) / "comm").read_text(errors="replace").strip()


def relations() -> dict[int, Relation]:
    """All processes of this machine, or of this container."""
    found = {}
    for pid in process_numbers():
        with suppress(OSError):
            # The name, in parentheses, may have anything in it.
            fields = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
            if not int(fields[6]) & _KERNEL_THREAD:
                found[pid] = Relation(int(fields[1]), int(fields[3]), int(fields[19]))
    return found


def family_of(pid: int, all_processes: dict[int, Relation]) -> set[int]:
    """A process and all that have come from it and still have a line of parents to it."""
    found = {pid}
    while (
        more := {each for each, relation in all_processes.items() if relation.parent in found}
        - found
    ):
        found |= more
    return found


def parents_of(pid: int, all_processes: dict[int, Relation]) -> Iterator[int]:
    """Its parent, the parent's, and so on."""
    while pid in all_processes and (pid := all_processes[pid].parent):
        yield pid


def closes_on_exec(pid: int, descriptor: int) -> bool:
    """Whether a descriptor is closed when its process becomes another program: what a program has
    inherited from another one was not."""
    with suppress(OSError, ValueError):
        for line in (PROC / str(pid) / "fdinfo" / str(descriptor)).read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "flags":
                return bool(int(value, 8) & os.O_CLOEXEC)
    return False


def was_passed_sockets(pid: int) -> bool:
    """Whether a program was started with sockets, as systemd does (sd_listen_fds(3)); True where
    that can't be seen."""
    try:
        return b"\0LISTEN_FDS=" in b"\0" + (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return True


def users_of(pid: int) -> set[int]:
    """The user ids of a process: real, effective, saved, and for files."""
    try:
        for line in (PROC / str(pid) / "status").read_text(errors="replace").splitlines():
            if line.startswith("Uid:"):
                return {int(each) for each in line.split()[1:]}
    except (OSError, ValueError):
        pass
    return set()


def shares_network(pid: int) -> bool:
    """Whether a process is in this one's network namespace.

    :raises PermissionError: if it can't be seen.
    """
    own, other = (os.stat(PROC / str(each) / "ns" / "net") for each in ("self", pid))
    return (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino)
