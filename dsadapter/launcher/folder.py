"""Whether the hook folder can be trusted: whoever can write there runs code in every process."""

from __future__ import annotations

import os
import stat

from dsadapter.launcher.settings import FOLDER


def writable_by_others(folder: str = FOLDER) -> str | None:
    """The folder, or the parent of it, that others than its owner can write to; None if there is
    none. A sticky one, such as /tmp, lets nobody move what is another's. Windows keeps lists of who
    may write, which are not read."""
    if os.name == "nt":
        return None
    place = os.path.realpath(folder)
    while True:
        status = os.stat(place)
        mode = status.st_mode
        group = mode & stat.S_IWGRP and status.st_gid not in (0, os.getegid())
        if (mode & stat.S_IWOTH or group) and not mode & stat.S_ISVTX:
            return place
        parent = os.path.dirname(place)
        if parent == place:
            return None
        place = parent


def foreign_files(folder: str = FOLDER) -> list[str]:
    """What is in the folder beside the one file that belongs there."""
    return sorted({*os.listdir(folder)} - {"sitecustomize.py", "__pycache__"})
