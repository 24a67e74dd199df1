"""Who else in this process has a descriptor's socket: other descriptors, and epoll instances."""

from __future__ import annotations

import os
import select
import stat
import sys
from typing import NamedTuple

_FILES, _DETAILS = "/proc/self/fd", "/proc/self/fdinfo"
_EPOLL = "anon_inode:[eventpoll]"


class Watch(NamedTuple):
    """What an epoll instance watches a descriptor for (``proc_pid_fdinfo(5)``)."""

    epoll: int
    events: int
    data: int


def others_of(fd: int) -> tuple[int, list[Watch]]:
    """How many other descriptors of this process are one and the same socket, and the epoll
    instances that watch it; none where the system doesn't say."""
    others = 0
    watches = []
    descriptors = _descriptors()
    own = os.fstat(fd) if descriptors else None
    for number in descriptors:
        # There may be thousands; to read a link of /proc takes ten times as long as this.
        try:
            status = os.fstat(number)
        except OSError:
            continue
        if own and status.st_ino == own.st_ino and status.st_dev == own.st_dev:
            others += number != fd
        elif not stat.S_IFMT(status.st_mode) and _link(number) == _EPOLL:
            watches += _watches(number, fd)
    return others, watches


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


def _descriptors() -> list[int]:
    if not sys.platform.startswith("linux"):
        return []
    try:
        return [int(name) for name in os.listdir(_FILES)]
    except OSError:
        return []


def _link(fd: int) -> str:
    try:
        return os.readlink(f"{_FILES}/{fd}")
    except OSError:
        return ""
