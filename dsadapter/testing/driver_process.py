"""A driver in a process of its own, as the conformance suite sees it."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Self

from dsadapter.testing import driver_worker
from dsadapter.testing.driver import Driver

PATIENCE = 30.0
"""Seconds to wait for what has to come. A deadline for a broken adapter, not a measure of speed."""

Places = dict[str, Any]


class DriverError(Exception):
    """The driver, or the adapter in it, raised."""

    def __init__(self, *texts: str) -> None:
        super().__init__(*texts)
        self.texts = [*texts]

    def __str__(self) -> str:
        return "\n".join(self.texts)


class Running:
    """A command that has been given."""

    def __init__(self, process: DriverProcess, number: int) -> None:
        self._process = process
        self.number = number
        self.reports: list[Places] = []
        """What it has reported so far."""
        self.outcome: dict[str, Any] | None = None

    def returned(self) -> Any:
        """What the driver's method returned, when it has.

        :raises DriverError: with the texts of what it raised.
        """
        self._process.wait_until(lambda: self.outcome is not None, "the driver does not return")
        assert self.outcome is not None
        if "error" in self.outcome:
            raise DriverError(*self.outcome["error"])
        return self.outcome["returned"]

    def report(
        self, fits: Callable[[Places], bool] = lambda places: True, *, since: int = 0
    ) -> Places:
        """The first report that fits, when it has come.

        :param since: how many reports there were before.
        """
        self._process.wait_until(
            lambda: any(fits(each) for each in self.reports[since:]),
            lambda: f"no fitting report comes, but {self.reports[since:]}",
        )
        return next(each for each in self.reports[since:] if fits(each))


class DriverProcess:
    """Runs a driver until it is closed.

    :param form_denied: whether the kernel refuses ``IPV6_ADDRFORM`` there.
    :param isolated: whether it has a network of its own, if that is :attr:`allowed`.
    """

    def __init__(
        self, kind: type[Driver], *, form_denied: bool = False, isolated: bool = False
    ) -> None:
        self._kind = kind
        self._alone: DriverProcess | None = None
        asked = {
            "path": sys.path,
            "module": kind.__module__,
            "file": inspect.getfile(kind),
            "class": kind.__qualname__,
            "form_denied": form_denied,
            "isolated": isolated,
        }
        command = [sys.executable, "-u", "-m", driver_worker.__name__, json.dumps(asked)]
        path = os.pathsep.join(each for each in sys.path if each)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
        )
        self._news = threading.Condition()
        self._running: dict[int, Running] = {}
        self._reports: list[Places] = []
        self._lines: list[str] = []
        self._read_so_far = 0
        self._ended = False
        self._numbers = 0
        self.is_broken = False
        """Whether it once did not do what it should, and can't be trusted with more."""
        self.allowed: bool | None = None
        """Whether this user may have namespaces: the driver then resolves
        :data:`~dsadapter.testing.driver_worker.MAPPED_NAME`."""
        self._threads = [
            threading.Thread(target=self._read_events, daemon=True),
            threading.Thread(target=self._read_log, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        try:
            self.wait_until(lambda: self.allowed is not None, "the driver does not start")
        except BaseException:
            self.end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    def end(self) -> None:
        """End the process."""
        self._end_isolated()
        self._process.kill()
        self._process.wait()
        # What the driver has left may keep its output open: that is its reader's to close.
        for thread in self._threads:
            thread.join(PATIENCE)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    @contextlib.contextmanager
    def isolated(self) -> Iterator[DriverProcess]:
        """Another one, with a network of its own, which ends with this one; nothing is open there
        afterwards."""
        if self._alone is None or self._alone.is_broken:
            self._end_isolated()
            self._alone = DriverProcess(self._kind, isolated=True)
        yield self._alone
        self._alone.close()

    def _end_isolated(self) -> None:
        if self._alone is not None:
            self._alone.end()

    def start(self, method: str, **arguments: Any) -> Running:
        """Have the driver do something."""
        self._numbers += 1
        running = self._running[self._numbers] = Running(self, self._numbers)
        assert self._process.stdin is not None
        line = json.dumps([running.number, method, arguments]) + "\n"
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise AssertionError(f"the driver has ended:\n{''.join(self._lines)}") from None
        return running

    def call(self, method: str, **arguments: Any) -> Any:
        """Have the driver do something, and wait until it is done.

        :raises DriverError: with the texts of what the driver raised.
        """
        return self.start(method, **arguments).returned()

    def close(self) -> str:
        """Close what the driver has open; what it has logged since the last time."""
        mark = f"closed {self._numbers}\n"
        self.call("close", mark=mark.strip())
        self.wait_until(
            lambda: self._ended or mark in self._lines[self._read_so_far :], "the log stops"
        )
        lines = self._lines[self._read_so_far :]
        self._read_so_far += len(lines)
        return "".join(lines)

    def taken_reports(self) -> list[Places]:
        """All reports since the last time."""
        with self._news:
            taken, self._reports = self._reports, []
        return taken

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """The process does nothing meanwhile; its kernel goes on."""
        stop, go_on = _suspending(self._process)
        stop()
        try:
            yield
        finally:
            go_on()

    def wait_until(self, condition: Callable[[], bool], why: str | Callable[[], str]) -> None:
        """Wait for what the driver says.

        :raises AssertionError: with the log, if it does not come.
        """
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while not condition():
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    self.is_broken = True
                    reason = why if isinstance(why, str) else why()
                    raise AssertionError(
                        f"{reason}; the log:\n{''.join(self._lines[self._read_so_far :])}"
                    )
                self._news.wait(left)

    def _read_events(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as events:
            for line in events:
                event = json.loads(line)
                with self._news:
                    if "ready" in event:
                        self.allowed = event["ready"]
                    elif "report" in event:
                        self._reports.append(event["places"])
                        self._running[event["report"]].reports.append(event["places"])
                    else:
                        self._running[event["done"]].outcome = event
                    self._news.notify_all()
        self._end()

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as log:
            for line in log:
                with self._news:
                    self._lines.append(line)
                    self._news.notify_all()

    def _end(self) -> None:
        with self._news:
            self._ended = True
            self._news.notify_all()


def _suspending(
    process: subprocess.Popen[str],
) -> tuple[Callable[[], object], Callable[[], object]]:
    """How to suspend a process, until it is, and to resume it."""
    if sys.platform == "win32":
        import ctypes

        ntdll, handle = ctypes.WinDLL("ntdll"), ctypes.c_void_p(int(process._handle))
        return partial(ntdll.NtSuspendProcess, handle), partial(ntdll.NtResumeProcess, handle)

    def stop() -> None:
        os.kill(process.pid, signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)

    return stop, partial(os.kill, process.pid, signal.SIGCONT)
