"""Who else in this process has a descriptor's socket: other descriptors, and epoll instances."""

from __future__ import annotations

import os
import select
import sys
from typing import NamedTuple

_FILES, _DETAILS = "/proc/self/fd", "/proc/self/fdinfo"
_EPOLL = "anon_inode:[eventpoll]"


class Watch(NamedTuple):
    """What an epoll instance watches a descriptor for (``proc_pid_fdinfo(5)``)."""

    epoll: int
    events: int
    data: int


def descriptors_of(fd: int) -> list[int]:
    """The descriptors of this process that are one and the same socket; the one alone where the
    system doesn't say."""
    return [number for number, link in _links() if link == _link(fd)] or [fd]


def watches_of(fd: int) -> list[Watch]:
    """The epoll instances of this process that watch a descriptor."""
    found = []
    for number, link in _links():
        if link != _EPOLL:
            continue
        try:
            with open(f"{_DETAILS}/{number}", encoding="utf-8") as file:
                lines = file.readlines()
        except OSError:
            continue
        for line in lines:
            words = line.replace(":", " ").split()
            if words[:2] == ["tfd", str(fd)] and words[2] == "events" and words[4] == "data":
                found.append(Watch(number, int(words[3], 16), int(words[5], 16)))
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


def _links() -> list[tuple[int, str]]:
    if not sys.platform.startswith("linux"):
        return []
    try:
        numbers = [int(name) for name in os.listdir(_FILES)]
    except OSError:
        return []
    return [(number, link) for number in numbers if (link := _link(number))]


def _link(fd: int) -> str:
    try:
        return os.readlink(f"{_FILES}/{fd}")
    except OSError:
        return ""
