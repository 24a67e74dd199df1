"""Becoming a program; where no process can, starting it and waiting for its end."""

from __future__ import annotations

# Every start under the launcher waits for these.
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def start(path: str, argv: list[str], environment: Mapping[str, str]) -> int:
    """Become a program; this does not return.

    On Windows, which has no ``exec``, it is started instead, with this process' console, standard
    files and inheritable handles, and it ends if this process does. Ctrl-C and Ctrl-Break, which
    the console sends to both, are the program's alone.

    :param argv: its arguments, its own name first.
    :returns: on Windows, the program's exit status, signed as ``sys.exit`` takes it.
    :raises OSError: if it can't be started.
    """
    if os.name != "nt":
        os.execve(path, argv, environment)
    return _wait_for(path, argv, environment)


def _wait_for(path: str, argv: list[str], environment: Mapping[str, str]) -> int:
    import signal
    import subprocess

    from dsadapter.command_lines import joined

    signals: Any = signal
    for each in (signals.SIGINT, signals.SIGBREAK):
        # There is nothing to do; to end would leave the program alone.
        signal.signal(each, lambda number, frame: None)
    line: str | list[str] = argv
    if path.lower().endswith((".bat", ".cmd")):
        # The command prompt reads it, for which & between quotes alone is text.
        line = joined(argv)
    process = subprocess.Popen(line, executable=path, env=environment, close_fds=False)
    with process:
        _end_with_this(process)
        status = process.wait()
    # The exit status is a DWORD; sys.exit takes a C long.
    return status - 2**32 if status >= 2**31 else status


def _end_with_this(process: Any) -> None:
    """Have a process end when this one ends, however; what it has started itself goes on. A system
    that can't do it does without."""
    import ctypes

    job_limits, kill_on_close, silent_breakaway = 9, 0x2000, 0x1000
    # JOBOBJECT_EXTENDED_LIMIT_INFORMATION, as far as it is used.
    size, flags_at = (144 if ctypes.sizeof(ctypes.c_void_p) == 8 else 112), 16
    limits = bytearray(size)
    limits[flags_at : flags_at + 4] = (kill_on_close | silent_breakaway).to_bytes(4, "little")
    kernel: Any = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]
    kernel.CreateJobObjectW.restype = ctypes.c_void_p
    job = kernel.CreateJobObjectW(None, None)
    if not job:
        return
    buffer = (ctypes.c_char * size).from_buffer(limits)
    kernel.SetInformationJobObject(ctypes.c_void_p(job), job_limits, buffer, size)
    kernel.AssignProcessToJobObject(ctypes.c_void_p(job), ctypes.c_void_p(int(process._handle)))
