"""Whether a process waits for connections on a socket (proc(5), epoll(7))."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from dsadapter.processes import sockets_of

_WATCHED = re.compile(r"^tfd:.*\bino:([0-9a-f]+)", re.MULTILINE)
# By machine: accept and accept4, whose first argument is the descriptor; poll, select and theirs.
_ACCEPTS = {"x86_64": (43, 288), "aarch64": (202, 242)}
_POLLS = {"x86_64": (7, 23, 270, 271), "aarch64": (72, 73)}


def waited_for(pid: int, inodes: Collection[int]) -> set[int]:
    """Those of the sockets that a process watches by epoll, or is blocked on in ``accept``,
    ``poll`` or ``select``.

    :raises PermissionError: if it can't be seen.
    """
    mine = {fd: inode for fd, inode in sockets_of(pid).items() if inode in inodes}
    if not mine:
        return set()
    folder = Path(f"/proc/{pid}")
    found = set()
    with suppress(FileNotFoundError, ProcessLookupError):
        for entry in os.scandir(folder / "fd"):
            with suppress(FileNotFoundError):
                if os.readlink(entry.path) == "anon_inode:[eventpoll]":
                    text = (folder / "fdinfo" / entry.name).read_text()
                    found |= {int(inode, 16) for inode in _WATCHED.findall(text)}
        for thread in os.scandir(folder / "task"):
            found |= _blocked_on(Path(thread.path), mine)
    return found & {*mine.values()}


def _blocked_on(thread: Path, mine: dict[int, int]) -> set[int]:
    machine = os.uname().machine
    with suppress(OSError, ValueError):
        number, *arguments = (thread / "syscall").read_text().split()
        if int(number) in _ACCEPTS.get(machine, ()):
            return {mine.get(int(arguments[0], 16), 0)}
        if int(number) in _POLLS.get(machine, ()):
            return {*mine.values()}
    return set()
