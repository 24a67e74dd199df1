"""What this process has open."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

if sys.platform != "win32":
    import resource


def open_descriptors() -> set[str]:
    """The descriptors of this process, without the one that reads the list; on Windows, where
    sockets are no descriptors and nothing lists them, none.

    Nothing has stayed open where they are ``<=`` those of before: what a test before this one has
    left to a thread or to the garbage collector may close meanwhile.
    """
    if sys.platform == "win32":
        return set()
    listing = os.listdir("/proc/self/fd")
    return {fd for fd in listing if os.path.exists(f"/proc/self/fd/{fd}")}


@contextlib.contextmanager
def none_left() -> Iterator[None]:
    """While it lasts, this process opens nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = set(map(int, open_descriptors()))
    free = next(number for number in range(hard) if number not in used)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
