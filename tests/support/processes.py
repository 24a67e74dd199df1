"""Real server processes that report what they see as JSON lines on standard output."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATIENCE = 60.0
"""Seconds to wait for what has to come. A deadline for a broken server, not a measure of speed."""


class Server:
    """A running script: its JSON lines are :meth:`event`, all its other output is :meth:`log`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._events: queue.Queue[Any] = queue.Queue()
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            if isinstance(event, dict):
                self._events.put(event)
            else:
                self._lines.append(line)
        self._events.put(None)

    def event(self) -> dict[str, Any]:
        """The next JSON line."""
        try:
            event = self._events.get(timeout=PATIENCE)
        except queue.Empty:
            event = None
        assert event is not None, f"the server said nothing more; its log:\n{self.log()}"
        assert isinstance(event, dict)
        return event

    def log(self) -> str:
        """All other output so far, standard error included."""
        return "".join(self._lines)

    def wait_for_log(self, *texts: str) -> str:
        """The first line of the log that contains every one of the texts."""
        deadline = time.monotonic() + PATIENCE
        while True:
            hope = self._reader.is_alive() and time.monotonic() < deadline
            for line in list(self._lines):
                if all(text in line for text in texts):
                    return line
            assert hope, f"no line with {' and '.join(texts)} came; the log:\n{self.log()}"
            time.sleep(0.01)

    def say(self, line: str) -> None:
        """Write one line to the server's standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def stop(self) -> str:
        """End the server and return the whole log."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(timeout=PATIENCE)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        return self.log()


@contextlib.contextmanager
def running(
    script: Path, *args: str, prefix: tuple[str, ...] = (), **kwargs: Any
) -> Iterator[Server]:
    """Run a Python script with this interpreter; ``prefix`` is a command to run it under."""
    with running_command([*prefix, sys.executable, "-u", str(script), *args], **kwargs) as server:
        yield server


@contextlib.contextmanager
def running_command(argv: list[str], **kwargs: Any) -> Iterator[Server]:
    """Run a command, its standard error mixed into its standard output."""
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
        **kwargs,
    )
    server = Server(process)
    try:
        yield server
    finally:
        server.stop()
