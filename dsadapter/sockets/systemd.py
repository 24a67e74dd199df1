"""What systemd has passed to this process (sd_listen_fds(3))."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import NamedTuple

from dsadapter.messages import did_you_mean, printable, quoted

_FIRST = 3
_MOST = 4096
"""More than any unit has; a count is a number that somebody else wrote."""
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_AT_START = Path("/proc/self/environ")
_TRY = "start it by a .socket unit, or try it with 'systemd-socket-activate -l 8080 COMMAND'"

_taken: dict[int, tuple[Passed, ...]] = {}
"""By process id: a child that forks off has been passed nothing."""


class Passed(NamedTuple):
    """One descriptor."""

    descriptor: int
    name: str
    """``FileDescriptorName=`` of its unit; several may have one name."""


def descriptors(which: int | str) -> tuple[int, ...]:
    """The descriptors that were passed at an index, from 0, or by a name.

    The first call takes the variables away from children, and closes the descriptors in those.

    :raises OSError: if nothing was passed to this process, or not that.
    """
    passed = passed_descriptors()
    if isinstance(which, int):
        if 0 <= which < len(passed):
            return (passed[which].descriptor,)
        raise OSError(errno.ENOENT, f"systemd passed no socket {which}: {_list(passed)}")
    found = tuple(each.descriptor for each in passed if each.name == which)
    if not found:
        guess = did_you_mean(which, [each.name for each in passed if each.name])
        raise OSError(
            errno.ENOENT, f"systemd passed no socket {quoted(which)}{guess}: {_list(passed)}"
        )
    return found


def passed_descriptors() -> tuple[Passed, ...]:
    """Everything that systemd has passed to this process, in its order.

    :raises OSError: if that is nothing.
    """
    process = os.getpid()
    if process not in _taken:
        passed = _read(os.environ, process)
        for each in passed:
            os.set_inheritable(each.descriptor, False)
        _taken[process] = passed
        for variable in _VARIABLES:
            os.environ.pop(variable, None)
    return _taken[process]


def _read(environment: MutableMapping[str, str], process: int) -> tuple[Passed, ...]:
    variables: Mapping[str, str] = environment
    if "LISTEN_PID" not in environment:
        # Twisted takes the first two away when its endpoints are imported.
        variables = _environment_at_start()
    if "LISTEN_PID" not in variables or "LISTEN_FDS" not in variables:
        raise OSError(errno.ENOENT, f"systemd passed no sockets: LISTEN_FDS is not set; {_TRY}")
    pid, count = variables["LISTEN_PID"], variables["LISTEN_FDS"]
    if pid != str(process):
        raise OSError(
            errno.ENOENT,
            f"systemd passed its sockets to process {printable(pid)}, and this one is {process}; "
            f"start the server itself, as a shell does with exec",
        )
    if not (count.isascii() and count.isdigit() and int(count[:5]) <= _MOST):
        raise OSError(errno.ENOENT, f"LISTEN_FDS {quoted(count)} is not a number; {_TRY}")
    names = variables.get("LISTEN_FDNAMES", "").split(":")
    names += [""] * int(count)
    passed = tuple(Passed(_FIRST + i, names[i]) for i in range(int(count)))
    for each in passed:
        try:
            os.fstat(each.descriptor)
        except OSError as error:
            raise OSError(
                error.errno,
                f"descriptor {each.descriptor}, which systemd passed, is not open; something else "
                f"in this process has closed it",
            ) from None
    return passed


def _environment_at_start() -> dict[str, str]:
    """The environment that this program was started with (proc(5)); empty where it isn't told."""
    try:
        entries = os.fsdecode(_AT_START.read_bytes()).split("\0")
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def _list(passed: tuple[Passed, ...]) -> str:
    if not passed:
        return "it passed none"
    shown = [f"{i} {quoted(each.name)}" if each.name else str(i) for i, each in enumerate(passed)]
    return f"it passed {', '.join(shown[:20])}"
