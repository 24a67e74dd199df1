"""Who else in this process has a descriptor's socket: other descriptors, and epoll instances."""

from __future__ import annotations

import os
import select
import stat
import sys
from contextlib import suppress
from typing import NamedTuple

from dsadapter.launcher.methods import owned

_FILES, _DETAILS = "/proc/self/fd", "/proc/self/fdinfo"
_EPOLL = "anon_inode:[eventpoll]"
_LINUX = sys.platform.startswith("linux")
_FEW = 64

_rest: set[int] | None = None
"""Of those that were listed last, which no bound socket of Python had."""


class Watch(NamedTuple):
    """What an epoll instance watches a descriptor for (``proc_pid_fdinfo(5)``)."""

    epoll: int
    events: int
    data: int


def others_of(fd: int) -> tuple[int, list[Watch]]:
    """How many other descriptors of this process are one and the same socket, and the epoll
    instances that watch it; none where the system doesn't say."""
    if not _LINUX:
        return 0, []
    others = 0
    watches = []
    own = os.fstat(fd)
    # To read a link of /proc takes ten times as long as its status.
    for number, status in _open_ones().items():
        if status.st_ino == own.st_ino and status.st_dev == own.st_dev:
            others += number != fd
        elif not stat.S_IFMT(status.st_mode) and _link(number) == _EPOLL:
            watches += _watches(number, fd)
    return others, watches


def _open_ones() -> dict[int, os.stat_result]:
    """The open descriptors, without those of Python's bound sockets where these are many: each of
    thousands that begins to listen asks."""
    global _rest
    many = len(owned) > _FEW
    if many and _rest is not None:
        rest = _rest - owned.keys()
        # One more would be counted, and one in the place of another be looked at.
        if _count() == len(owned) + len(rest) and len(found := _look(rest)) == len(rest):
            return found
    numbers = _descriptors()
    if many:
        for number in owned.keys() - numbers:
            # It was closed without its object.
            owned.pop(number, None)
        numbers -= owned.keys()
    found = _look(numbers)
    _rest = set(found)
    return found


def _look(numbers: set[int]) -> dict[int, os.stat_result]:
    found = {}
    for number in numbers:
        with suppress(OSError):
            found[number] = os.fstat(number)
    return found


def _count() -> int:
    """How many descriptors are open (since Linux 6.2; 0 before)."""
    try:
        return os.stat(_FILES).st_size
    except OSError:
        return 0


def _watches(epoll: int, fd: int) -> list[Watch]:
    try:
        with open(f"{_DETAILS}/{epoll}", encoding="utf-8") as file:
            lines = file.readlines()
    except OSError:
        return []
    found = []
    for line in lines:
        words = line.replace(":", " ").split()
        if words[:2] == ["tfd", str(fd)] and words[2] == "events" and words[4] == "data":
            found.append(Watch(epoll, int(words[3], 16), int(words[5], 16)))
    return found


def watch_again(fd: int, watches: list[Watch]) -> None:
    """Have another socket that is a descriptor now be watched as the one before it.

    :raises OSError: as ``epoll_ctl``.
    """
    for watch in watches:
        # An object closes its descriptor.
        epoll = select.epoll.fromfd(os.dup(watch.epoll))
        try:
            epoll.register(fd, watch.events)
        finally:
            epoll.close()


def is_ours(fd: int, watch: Watch) -> bool:
    """Whether Python has begun to watch: it knows a descriptor by its number."""
    return watch.data & 0xFFFFFFFF == fd


def _descriptors() -> set[int]:
    try:
        return {int(name) for name in os.listdir(_FILES)}
    except OSError:
        return set()


def _link(fd: int) -> str:
    try:
        return os.readlink(f"{_FILES}/{fd}")
    except OSError:
        return ""
