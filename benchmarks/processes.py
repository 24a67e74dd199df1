"""Processes that do what is measured, and say what it has cost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self


class Worker:
    """A script of this package in a process of its own: a line for a line, until its input ends.

    :param script: the name of the file.
    :param cpus: the processors to keep it on; None for all.
    :param prefix: words before the command, such as those that enter a network namespace.
    """

    def __init__(
        self,
        script: str,
        *arguments: str,
        cpus: set[int] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self._label = " ".join((script, *arguments))
        path = Path(__file__).with_name(script)
        # Isolated: what is installed is measured, not what lies in the current directory.
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-I", str(path), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if cpus is not None:
            os.sched_setaffinity(self._process.pid, cpus)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.communicate()

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        """:raises RuntimeError: if it has ended instead."""
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return line
        raise RuntimeError(f"{self._label} has ended with {self._process.wait()}")

    def ask(self, line: str) -> str:
        self.say(line)
        return self.answer()


@contextmanager
def one_cpu_apart() -> Iterator[set[int] | None]:
    """Keep this process, and those that it starts, off one processor: that of what is measured."""
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    everywhere = os.sched_getaffinity(0)
    measured = {min(everywhere)}
    os.sched_setaffinity(0, everywhere - measured or everywhere)
    try:
        yield measured
    finally:
        os.sched_setaffinity(0, everywhere)
