"""What this process has open."""

from __future__ import annotations

import os
import sys


def open_descriptors() -> set[str]:
    """The descriptors of this process, without the one that reads the list; on Windows, where
    sockets are no descriptors and nothing lists them, none."""
    if sys.platform == "win32":
        return set()
    listing = os.listdir("/proc/self/fd")
    return {fd for fd in listing if os.path.exists(f"/proc/self/fd/{fd}")}
