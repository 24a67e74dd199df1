"""Becomes a program that gets descriptors as systemd passes them (sd_listen_fds(3)).

``python -m dsadapter.cutover.passing NUMBER,... PROGRAM [ARGUMENT ...]``
"""

from __future__ import annotations

import fcntl
import os
import sys

_FIRST = 3


def become(numbers: list[int], words: list[str]) -> str:
    """Execute the program; only why that can't be is returned."""
    above = _FIRST + len(numbers)
    # Out of the way of each other's new number.
    moved = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, above) for number in numbers]
    for number in numbers:
        os.set_inheritable(number, False)
    for number, descriptor in enumerate(moved, _FIRST):
        os.dup2(descriptor, number)
    os.environ.pop("LISTEN_FDNAMES", None)
    os.environ["LISTEN_FDS"] = str(len(numbers))
    os.environ["LISTEN_PID"] = str(os.getpid())
    try:
        os.execvp(words[0], words)
    except OSError as error:
        return f"{words[0]} can't be started: {error.strerror}"


if __name__ == "__main__":
    sys.exit(become([int(number) for number in sys.argv[1].split(",")], sys.argv[2:]))
