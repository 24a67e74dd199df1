"""A plugin that writes down what the processes of a program tell it, and a reader of that."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from support.distributions import build_plugin

VARIABLE = "DSADAPTER_TEST_TOLD"

PLUGIN = f"""
import os

from dsadapter import hookimpl


def write(hook, *what):
    line = " ".join(map(str, (os.getpid(), hook, *what))) + "\\n"
    descriptor = os.open(os.environ["{VARIABLE}"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, line.encode())
    os.close(descriptor)


@hookimpl
def dsadapter_listener_opened(listener):
    write("opened", listener.mode)


@hookimpl
def dsadapter_listener_closed(listener):
    write("closed", listener.mode)


@hookimpl
def dsadapter_connection_made(connection):
    write("made", *connection.peer[:2], *connection.local[:2])


@hookimpl
def dsadapter_connection_lost(connection):
    write("lost", *connection.peer[:2], *connection.local[:2])
"""


class Line(NamedTuple):
    process: str
    hook: str
    what: str


class Told:
    """What has been told to :data:`PLUGIN` in a program that runs with :attr:`variables`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.variables = {VARIABLE: str(path)}

    def text(self) -> str:
        return self._path.read_text() if self._path.exists() else ""

    def lines(self, hook: str) -> list[Line]:
        lines = [Line(*line.split(" ", 2)) for line in self.text().splitlines()]
        return [line for line in lines if line.hook == hook]

    def connections(self, hook: str) -> Counter[tuple[str, str]]:
        """How often each process has told of each connection."""
        return Counter((line.process, line.what) for line in self.lines(hook))


def build_telling_plugin(folder: Path) -> Path:
    """The wheel of a distribution with that plugin."""
    modules = {"dsadapter_test_told.py": PLUGIN}
    return build_plugin(folder, "dsadapter-test-told", modules, {"told": "dsadapter_test_told"})


def processes_of(group: int) -> list[int]:
    """The processes of a process group."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                same = os.getpgid(int(folder.name)) == group
            except ProcessLookupError:
                continue
            if same:
                found.append(int(folder.name))
    return found
