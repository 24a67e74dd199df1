"""``dsadapter cutover``, run in a network of its own, and what clients see meanwhile."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from support.environments import clean_environment
from support.launched import DSADAPTER
from support.processes import Server, running_command
from support.programs import listening_sockets
from support.under_load import HUNG

PORT = 8080
PROGRAM = Path(__file__).parents[1] / "system" / "programs" / "line_server.py"


def line_server(*shapes: str, port: int = PORT) -> list[str]:
    """The command line of a server that answers each line with the client's address."""
    return [sys.executable, str(PROGRAM), str(port), *shapes]


def running_old(*shapes: str) -> contextlib.AbstractContextManager[Server]:
    """A server as it was written before: it shares its port with nobody."""
    return running_command([*line_server(*shapes), "old"], env=clean_environment())


def ask_line(host: str, port: int) -> bytes:
    """The answer to a line: it has to be the client's address."""
    with socket.create_connection((host, port), HUNG) as client:
        client.sendall(b"\r\n")
        answer = client.makefile("rb").readline().strip()
    if answer and answer != host.encode():
        raise OSError(f"the answer is {answer!r}")
    return answer


def ask_by_curl(host: str, port: int) -> bytes:
    """The same, by curl: the server answers each line of a request, and goes on."""
    address = f"[{host}]" if ":" in host else host
    options = ["-sSN", "--http0.9", "--max-time", "20", "--noproxy", "*"]
    with subprocess.Popen(
        ["curl", *options, f"http://{address}:{port}/"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as curl:
        assert curl.stdout is not None
        assert curl.stderr is not None
        answer = curl.stdout.readline().strip()
        curl.terminate()
        said = curl.stderr.read()
    if answer != host.encode():
        raise OSError(f"curl: {said!r} {answer!r}")
    return b"curl"


class Cutovers:
    """Runs the command; what it has started ends with the test."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "new.log"
        self._started: list[int] = []

    def words(self, *arguments: str) -> list[str]:
        return [*DSADAPTER, "cutover", "--log", str(self.log), *arguments]

    def run(self, *arguments: str, prefix: tuple[str, ...] = ()) -> tuple[int, str]:
        """Its exit status, and all that it says."""
        done = subprocess.run(
            [*prefix, *self.words(*arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=clean_environment(),
            timeout=240,
            check=False,
        )
        self.remember(done.stdout)
        return done.returncode, done.stdout

    @contextlib.contextmanager
    def running(self, *arguments: str) -> Iterator[Server]:
        """While it runs."""
        with running_command(self.words(*arguments), env=clean_environment()) as server:
            yield server
            server.process.wait(240)
            self.remember(server.stop())

    def remember(self, said: str) -> None:
        self._started += map(int, re.findall(r"new server is process (\d+)", said))

    @property
    def newest(self) -> int:
        """The process of the new server that was started last."""
        return self._started[-1]

    def end(self) -> None:
        for pid in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def parked() -> int:
    """How many of its sockets are."""
    return sum("%if" in line for line in listening_sockets(PORT))
