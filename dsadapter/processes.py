"""Other processes, as Linux lists them: their sockets, and the systemd units that they are of
(proc(5))."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
_SERVICE = ".service"
_MANAGER = "user@"


class Unit(NamedTuple):
    """A systemd unit."""

    name: str
    of_a_user: bool
    """Whether a user's own manager looks after it."""

    def __str__(self) -> str:
        """As ``systemctl`` takes it."""
        return f"--user {self.name}" if self.of_a_user else self.name


def process_numbers() -> list[int]:
    """The processes of this machine, or of this container; none where they are not listed."""
    with suppress(OSError):
        return numbers_in(PROC)
    return []


def sockets_of(pid: int) -> dict[int, int]:
    """The inodes of a process's sockets, by descriptor.

    :raises PermissionError: if it can't be seen.
    """
    folder = PROC / str(pid) / "fd"
    found = {}
    try:
        for number in numbers_in(folder):
            # Closed meanwhile.
            with suppress(FileNotFoundError):
                kind, _, rest = os.readlink(folder / str(number)).partition(":[")
                if kind == "socket":
                    found[number] = int(rest.rstrip("]"))
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return found


def unit_of(pid: int) -> Unit | None:
    """The systemd service that a process belongs to; None for none."""
    with suppress(OSError):
        return unit_in((PROC / str(pid) / "cgroup").read_text(encoding="utf-8", errors="replace"))
    return None


def unit_in(groups: str) -> Unit | None:
    """The same by its control groups (cgroups(7)).

    :param groups: a line for each hierarchy.
    """
    for line in groups.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers not in ("", "name=systemd"):
            continue
        services = [part for part in path.split("/") if part.endswith(_SERVICE)]
        managers = [part for part in services if part.startswith(_MANAGER)]
        # The manager itself, and a session in it, are not to be stopped.
        if services and services[-1] not in managers and services[-1].isprintable():
            return Unit(services[-1], bool(managers))
    return None


def numbers_in(folder: Path) -> list[int]:
    """The names of a folder's entries that are numbers, in their order.

    :raises OSError: as ``listdir``.
    """
    return sorted(int(name) for name in os.listdir(folder) if name.isdecimal())
