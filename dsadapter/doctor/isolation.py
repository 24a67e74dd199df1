"""Work in a process of its own, with a limit of time and of what it says.

A process that hangs, crashes, exits or is killed ends alone, and so does one that imports a reactor
or a plugin. It says plain data, as JSON lines through a pipe.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

from dsadapter.messages import said_of

Say = Callable[[Any], None]

FORKS = hasattr(os, "waitid")
"""Whether work has a process of its own; where it has none, it shares plugins with all else."""

MOST_SAID = 1 << 20
"""How many bytes a process may say."""
_LOOK_EVERY = 0.02
"""Seconds between looks whether it has ended."""


@dataclass(slots=True)
class Said:
    """What a process said, and how it ended."""

    messages: list[Any] = field(default_factory=list)
    failure: str = ""
    """What it did instead of returning, as in "it took longer than 5 s"; empty if it returned."""


def isolated(work: Callable[[Say], object], limit: float) -> Said:
    """Run a function in a process of its own.

    Where the system has no ``fork`` it is a thread, which nobody can stop: it is left alone.

    :param work: is given a function that takes what JSON can hold.
    :param limit: seconds until it is killed.
    """
    return _forked(work, limit) if FORKS else _in_a_thread(work, limit)


def _forked(work: Callable[[Say], object], limit: float) -> Said:
    readable, writable = map(_past_standard, os.pipe())
    process = os.fork()
    if not process:
        _child(work, writable, limit)
    os.close(writable)
    try:
        # Both sides, because either may be first.
        with contextlib.suppress(OSError):
            os.setpgid(process, process)
        return _listen(process, readable, limit)
    finally:
        os.close(readable)


def _past_standard(descriptor: int) -> int:
    """A descriptor as one that the standard streams don't take the place of: they may be closed."""
    import fcntl

    moved: int = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(descriptor)
    return moved


def _child(work: Callable[[Say], object], writable: int, limit: float) -> None:
    status = 1
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        # Should whoever waits be killed first.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, limit + 1)
        sys.dont_write_bytecode = True
        silence = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(silence, descriptor)

        def say(message: Any) -> None:
            line = json.dumps(message).encode() + b"\n"
            while line:
                line = line[os.write(writable, line) :]

        try:
            work(say)
            say({"end": ""})
        except BaseException as error:
            say({"end": f"it raised {said_of(error)}"})
        status = 0
    finally:
        os._exit(status)


def _listen(process: int, readable: int, limit: float) -> Said:
    said = Said()
    received = bytearray()
    deadline = monotonic() + limit
    try:
        while True:
            if monotonic() > deadline:
                said.failure = f"it took longer than {limit:g} s"
                break
            # Asked for first: all that it said is in the pipe then, and it is not reaped yet, so
            # that its number stays its own.
            ended = os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            received += _waiting(readable, 0.0 if ended else _LOOK_EVERY)
            if len(received) > MOST_SAID:
                said.failure = f"it said more than {MOST_SAID} bytes"
                break
            if ended:
                break
    finally:
        for kill in (os.killpg, os.kill):
            # What it started ends with it.
            with contextlib.suppress(OSError):
                kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
    _read(bytes(received), said, status)
    return said


def _waiting(readable: int, timeout: float) -> bytes:
    """What is in a pipe, or comes within seconds."""
    found = b""
    while len(found) <= MOST_SAID and select.select([readable], [], [], timeout)[0]:
        part = os.read(readable, 1 << 16)
        if not part:
            # Closed, by a process that may live on.
            sleep(timeout)
            break
        found += part
        timeout = 0.0
    return found


def _read(received: bytes, said: Said, status: int) -> None:
    end = None
    for line in received.split(b"\n")[:-1]:
        try:
            message = json.loads(line)
        except ValueError:
            said.failure = said.failure or "it wrote to the doctor's own pipe"
            break
        if isinstance(message, dict) and message.keys() == {"end"}:
            end = message["end"]
        else:
            said.messages.append(message)
    if said.failure:
        return
    if end is not None:
        said.failure = str(end)
    elif os.WIFSIGNALED(status):
        said.failure = f"it was ended by {_signal_name(os.WTERMSIG(status))}"
    else:
        said.failure = f"it exited with status {os.waitstatus_to_exitcode(status)}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _in_a_thread(work: Callable[[Say], object], limit: float) -> Said:
    said = Said(failure=f"it took longer than {limit:g} s")

    def run() -> None:
        try:
            work(messages.append)
            ends.append("")
        except BaseException as error:
            ends.append(f"it raised {said_of(error)}")

    messages: list[Any] = []
    ends: list[str] = []
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit)
    said.messages = list(messages)
    if ends:
        said.failure = ends[0]
    return said
