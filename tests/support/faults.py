"""System calls that really fail, for one thread and for as long as a test says.

A seccomp filter (``seccomp_unotify(2)``) lets the kernel ask before each call of the kinds that are
named. It can't be taken away again, so that what is tested runs in a thread that ends with it.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from support import seccomp
from support.processes import PATIENCE

if sys.platform != "win32":
    import fcntl

T = TypeVar("T")
_EPOLL_CTL_ADD = 1


class Faults:
    """What the kernel answers to the calls that a thread makes.

    :param calls: names that :data:`support.seccomp.CALLS` knows.
    """

    def __init__(self, *calls: str) -> None:
        self._calls = calls
        self._answers: dict[str, list[int]] = {}
        self.asked: dict[str, int] = dict.fromkeys(calls, 0)
        """How often the thread has made each call."""

    def fail(self, call: str, number: int, times: int = 1, after: int = 0) -> None:
        """Have the next calls fail, after some that don't.

        ``epoll_ctl`` fails where it would watch one descriptor more, else it is passed on.
        """
        self._answers[call] = [0] * after + [number] * times

    def always(self, call: str, number: int) -> None:
        """Have all calls from now on fail."""
        self.fail(call, number, times=1_000_000)

    def heal(self) -> None:
        """Have no more calls fail."""
        self._answers.clear()

    def run(self, body: Callable[[], T]) -> T:
        """Call a function in a thread whose calls are watched; give back what it gives."""
        outcome: list[Any] = []
        listeners: list[int] = []
        ready, over = threading.Event(), threading.Event()

        def work() -> None:
            try:
                listeners.append(seccomp.watch(*self._calls))
                ready.set()
                outcome.append((True, body()))
            except BaseException as error:
                outcome.append((False, error))
            finally:
                ready.set()
                over.set()

        thread = threading.Thread(target=work)
        thread.start()
        ready.wait(PATIENCE)
        for listener in listeners:
            try:
                self._answer(listener, over)
            finally:
                # The kernel then refuses what is watched, and nothing waits for ever.
                os.close(listener)
        thread.join(PATIENCE)
        succeeded, result = outcome[0]
        if not succeeded:
            raise result
        return result  # type: ignore[no-any-return]

    def _answer(self, listener: int, over: threading.Event) -> None:
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        deadline = time.monotonic() + PATIENCE
        while not over.is_set():
            assert time.monotonic() < deadline, "what is tested doesn't end"
            if not poll.poll(5):
                continue
            notification = bytearray(seccomp.NOTIFICATION.size)
            try:
                fcntl.ioctl(listener, seccomp.RECEIVE, notification)
                number, _, _, syscall, *_, operation, _, _, _, _ = seccomp.NOTIFICATION.unpack(
                    notification
                )
                response = self._response(seccomp.call_name(syscall), operation)
                fcntl.ioctl(listener, seccomp.SEND, seccomp.RESPONSE.pack(number, 0, *response))
            except FileNotFoundError:
                continue

    def _response(self, call: str, operation: int) -> tuple[int, int]:
        passed_on = (0, seccomp.SECCOMP_USER_NOTIF_FLAG_CONTINUE)
        if call == "epoll_ctl" and operation != _EPOLL_CTL_ADD:
            return passed_on
        self.asked[call] += 1
        answers = self._answers.get(call)
        answer = answers.pop(0) if answers else 0
        return (-answer, 0) if answer else passed_on
