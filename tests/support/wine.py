"""A CPython for Windows, run by Wine on this machine, and served from it: one kernel, one loopback.

``tests/platforms/in-wine VERSION`` has unpacked both.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.builds import CHECKOUT
from support.environments import clean_environment
from support.processes import PATIENCE, Server, running_command

VERSION = os.environ.get("WINDOWS_PYTHON", "3.13")
ROOT = CHECKOUT / ".tox" / "wine"
WINE = Path("/usr/lib/wine/wine64")
SERVER = Path("/usr/lib/wine/wineserver")


def lacking() -> str | None:
    """What there is to do before a program of Windows can be run; None if nothing."""
    for needed in (WINE, SERVER, ROOT / "prefix" / "complete", ROOT / f"{VERSION}.complete"):
        if not needed.exists():
            return f"no {needed}: run tests/platforms/in-wine {VERSION} --version"
    return None


@dataclass(frozen=True)
class Windows:
    """A Windows of its own, with the project installed.

    Its programs' sockets are in the network that it was started in, whoever starts them, and belong
    to its server, by ``ss`` and in proc(5).
    """

    environment: dict[str, str]
    server: int
    """The process that holds every socket."""

    def command(self, *args: str | Path) -> list[str]:
        """The words that run Python with arguments; to be run with :attr:`environment`, and a pipe
        as its output."""
        python = ROOT / VERSION / "python.exe"
        shown = [path_of_windows(arg) if isinstance(arg, Path) else arg for arg in args]
        return [str(WINE), str(python), "-P", "-u", *shown]

    @contextlib.contextmanager
    def program(self, *args: str | Path, **kwargs: Any) -> Iterator[Server]:
        """Run Python with arguments; a path among them is one of this machine."""
        options = {"env": self.environment} | kwargs
        with running_command(self.command(*args), **options) as server:
            yield server

    def descriptors(self) -> int:
        """How many files and sockets its programs have open."""
        return len(os.listdir(f"/proc/{self.server}/fd"))


def path_of_windows(path: Path) -> str:
    """What a program of Windows calls a file."""
    return "Z:" + str(path.resolve()).replace("/", "\\")


@contextlib.contextmanager
def windows(wheel: Path, prefix: tuple[str, ...] = ()) -> Iterator[Windows]:
    """A Windows with a wheel of the project.

    :param prefix: the words before a command that is to run in another network or under a filter.
    """
    with tempfile.TemporaryDirectory(dir=ROOT) as name:
        folder = Path(name)
        installed = folder / "installed"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(installed)
        shutil.copytree(
            ROOT / "prefix", folder / "prefix", symlinks=True, copy_function=_link_or_copy
        )
        environment = clean_environment(
            WINEPREFIX=str(folder / "prefix"),
            WINEARCH="win64",
            WINEDEBUG="-all",
            WINEDLLOVERRIDES="mscoree,mshtml=",
            PYTHONDONTWRITEBYTECODE="1",
            PYTHONIOENCODING="utf-8",
            PYTHONPATH=path_of_windows(installed),
        )
        environment = {k: v for k, v in environment.items() if k not in _DISPLAYS}
        with _wineserver(environment, prefix) as server:
            yield Windows(environment, server)


_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def _link_or_copy(source: str, destination: str) -> None:
    """The registry is written to, all else is only read."""
    if source.endswith(".reg"):
        shutil.copy2(source, destination)
    else:
        os.link(source, destination)


@contextlib.contextmanager
def _wineserver(environment: dict[str, str], prefix: tuple[str, ...]) -> Iterator[int]:
    silent = {
        "env": environment,
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    server = subprocess.Popen([*prefix, str(SERVER), "-f", "-p"], **silent)
    try:
        deadline = time.monotonic() + PATIENCE
        # A program that finds no server starts one of its own.
        while not Path(f"/proc/{server.pid}/cwd/socket").exists():
            assert server.poll() is None, "wineserver has ended"
            assert time.monotonic() < deadline, "wineserver does not begin"
            time.sleep(0.01)
        # Its services, too: they would keep the output of the first program open.
        subprocess.run([*prefix, str(WINE), "wineboot"], timeout=PATIENCE, check=True, **silent)
        yield server.pid
    finally:
        subprocess.run([str(SERVER), "-k"], timeout=PATIENCE, check=False, **silent)
        try:
            server.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
