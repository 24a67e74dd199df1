"""Server processes, and the clients that connect to them."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Self

from benchmarks.crowd import connect
from benchmarks.rounds import Samples, interleave

CLIENTS = {"IPv4": "127.0.0.1", "IPv6": "::1"}

_NAMES = {
    "two-sockets": "two sockets",
    "observed": "dualstack: with an observer",
    "stand-ins": "stand-ins",
    "wrapping": "without them",
}

Cpus = set[int] | None
Subjects = dict[str, Callable[[], float]]


def server_name(server: str) -> str:
    return _NAMES.get(server, f"{server}:")


def named(server: str, client: str) -> str:
    """A subject's name: its server, and the address family of its client."""
    return f"{server_name(server)}, {client} client"


def measure(
    start: Callable[[ExitStack, Cpus], Subjects], rounds: int, rounds_per_process: int
) -> Samples:
    """Interleave subjects that are served by processes.

    Two processes that do the same differ by a few percent for life, by the layout of their memory;
    so they are started anew now and then.

    :param start: starts server processes on the given processors, which end with the stack, and
        returns the subjects.
    """
    samples = Samples()
    with one_cpu_apart() as server_cpus:
        while len(samples) < rounds:
            with ExitStack() as stack:
                subjects = start(stack, server_cpus)
                interleave(subjects, min(rounds_per_process, rounds - len(samples)), samples)
    return samples


@contextmanager
def one_cpu_apart() -> Iterator[Cpus]:
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


class Process:
    """A script of this directory, which answers lines with lines and ends with its input.

    :param cpus: the processors to keep it on; None for all.
    :param environment: variables beside those of this process.
    :param prefix: words before the command, such as those that enter a network namespace.
    """

    def __init__(
        self,
        script: str,
        *arguments: object,
        cpus: Cpus = None,
        environment: Mapping[str, str] = MappingProxyType({}),
        prefix: Sequence[str] = (),
    ) -> None:
        # Isolated: what is installed is measured, not what lies in the current directory.
        path = Path(__file__).with_name(script)
        self._command = [*prefix, sys.executable, "-I", str(path), *map(str, arguments)]
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        if cpus is not None:
            os.sched_setaffinity(self._process.pid, cpus)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.communicate()

    def ask(self, line: str) -> str:
        self.say(line)
        return self.answer()

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return line
        raise RuntimeError(f"{self._command} has ended with {self._process.wait()}")


class Server(Process):
    """One server of the stream benchmarks.

    :param options: appended to its endpoint string.
    :param tls: what its clients use for TLS.
    """

    def __init__(
        self,
        name: str,
        cpus: Cpus,
        options: str = "",
        tls: ssl.SSLContext | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__("stream_server.py", name, options, cpus=cpus, environment=environment)
        self.name = name
        self.port = 0
        self._tls = tls

    def __enter__(self) -> Self:
        self.port = int(self.answer())
        return self

    def connect(self, client: str) -> socket.socket:
        connected = connect(CLIENTS[client], self.port)
        return self._tls.wrap_socket(connected) if self._tls else connected

    def accept_waiting(self, client: str, number: int) -> float:
        """Microseconds of CPU time for each of so many connections in the backlog."""
        self.ask(f"hold {number}")
        clients = [self.connect(client) for _ in range(number)]
        self.say("resume")
        return self._finish(clients)

    def accept_one_by_one(self, client: str, number: int, pause: float) -> float:
        """Microseconds of CPU time for each of so many connections.

        :param pause: seconds before each.
        """
        self.ask(f"hold {number}")
        self.say("resume")
        clients = []
        for _ in range(number):
            time.sleep(pause)
            clients.append(self.connect(client))
        return self._finish(clients)

    def _finish(self, clients: list[socket.socket]) -> float:
        elapsed = float(self.answer())
        for connected in clients:
            connected.close()
        return elapsed / len(clients) * 1e6

    @contextmanager
    def kept(self, client: str, number: int) -> Iterator[None]:
        """Have so many idle connections for the rest of the server's life; no figure counts them.

        They are another process's, so that this one needs no more descriptors for them.
        """
        with Process("crowd.py", CLIENTS[client], self.port, number) as crowd:
            crowd.answer()
            self.ask(f"keep {number}")
            yield

    def cpu_time(self) -> float:
        """Seconds of CPU time since the process began."""
        return float(self.ask("cpu"))

    def resident(self) -> int:
        """The resident memory in bytes, without the slack of the cheaper counters."""
        rollup = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text()
        [kilobytes] = [line.split()[1] for line in rollup.splitlines() if line.startswith("Rss:")]
        return int(kilobytes) * 1024

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))
