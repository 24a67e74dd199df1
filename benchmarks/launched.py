"""What ``dsadapter run`` costs: starting, each call of a socket, and servers of others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from resource import RUSAGE_CHILDREN, getrusage
from typing import Self

from benchmarks.crowd import connect
from benchmarks.processes import CLIENTS, Cpus, Process, Subjects, measure
from benchmarks.rounds import BEYOND, RATIO, Samples, interleave
from benchmarks.table import Table, Target

PACKAGES = ("uvicorn", "uvloop")

_ROUNDS_PER_PROCESS = 20
_REQUESTS = 100
_HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
_CLOSES = _HEAD + b"Connection: close\r\n\r\n"
_STAYS = _HEAD + b"\r\n"
_BODY = b"hello\n"
_OWN = "its own IPv4 socket"
_COVERED = "under dsadapter run"
# By server: for a connection a request, and for one connection.
_BOUNDS = {
    "uvicorn": (Target(1.10), Target(1.02)),
    "uvicorn-uvloop": (Target(1.35), Target(1.02)),
    "http.server": (Target(1.10), None),
}
_CALLS = """
import socket, sys, timeit
if sys.argv[1] == "covered":
    import dsadapter.launcher
    dsadapter.launcher.install()
server = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
client = socket.create_connection((sys.argv[2], server.getsockname()[1]))
accepted, _ = server.accept()
print(timeit.timeit(sys.argv[3], globals=globals(), number=20000) / 20000 * 1e6)
"""


def tables(rounds: int | None) -> Iterator[Table]:
    yield _starts(rounds or 41)
    yield _calls(rounds or 21)
    for server, (closing, staying) in _BOUNDS.items():
        yield _requests(server, "each on a connection of its own", _closing, closing, rounds or 100)
        if staying is not None:
            yield _requests(server, "all on one connection", _staying, staying, rounds or 100)


def _starts(rounds: int) -> Table:
    run = [sys.executable, "-c", "from dsadapter.cli import main; main()", "run", "--"]
    variables = subprocess.run(
        [*run, "env", "-0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    pairs = (entry.partition("=") for entry in variables.stdout.split("\0") if entry)
    covered = {name: value for name, _, value in pairs}
    python = [sys.executable, "-c"]
    samples = Samples()
    bare, command = "python -c pass", "dsadapter run -- true"
    interleave(
        {
            bare: _process_time([*python, "pass"]),
            command: _process_time([*run, "true"]),
            f"{bare}, covered": _process_time([*python, "pass"], covered),
            "import socket": _process_time([*python, "import socket"]),
            "import socket, covered": _process_time([*python, "import socket"], covered),
        },
        rounds,
        samples,
    )
    table = Table(
        "Starting under dsadapter run",
        "CPU time of processes that do nothing: the command itself, and what is covered.",
        samples,
        "ms",
    )
    table.compare(command, bare, BEYOND, Target(15))
    table.compare(f"{bare}, covered", bare, BEYOND, Target(3))
    table.compare("import socket, covered", "import socket", BEYOND, Target(3))
    return table


def _process_time(
    command: list[str], environment: dict[str, str] | None = None
) -> Callable[[], float]:
    def measure() -> float:
        before = getrusage(RUSAGE_CHILDREN)
        subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=True)
        after = getrusage(RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return used * 1e3

    return measure


def _calls(rounds: int) -> Table:
    samples = Samples()
    named = {}
    for call in "accepted.getpeername()", "accepted.getsockname()":
        for client, host in CLIENTS.items():
            for kind in "plain", "covered":
                name = f"{call}, {client} client" + (", covered" if kind == "covered" else "")
                named[name] = partial(_call, kind, host, call)
    interleave(named, rounds, samples)
    table = Table(
        "Calls of sockets under dsadapter run",
        "Time of a call on a connection that a dual-stack socket has accepted.",
        samples,
        "µs",
    )
    for name in named:
        if not name.endswith("covered"):
            table.compare(f"{name}, covered", name, BEYOND, Target(0.3))
    return table


def _call(kind: str, host: str, call: str) -> float:
    done = subprocess.run(
        [sys.executable, "-I", "-c", _CALLS, kind, host, call],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ,
        check=True,
    )
    return float(done.stdout)


def _requests(
    server: str,
    how: str,
    ask: Callable[[_Server], float],
    bound: Target | None,
    rounds: int,
) -> Table:
    def start(stack: ExitStack, cpus: Cpus) -> Subjects:
        own = stack.enter_context(_Server(server, "ipv4", cpus))
        covered = stack.enter_context(_Server(server, "covered", cpus))
        return {_OWN: partial(ask, own), _COVERED: partial(ask, covered)}

    table = Table(
        f"Requests to {server} under dsadapter run, {how}",
        f"CPU time of a server process for each of {_REQUESTS} requests by IPv4; no access log.",
        measure(start, rounds, _ROUNDS_PER_PROCESS),
        "µs",
    )
    table.compare(_COVERED, _OWN, RATIO, bound)
    return table


class _Server(Process):
    def __init__(self, server: str, kind: str, cpus: Cpus) -> None:
        super().__init__("ready_server.py", server, kind, cpus=cpus)
        self.port = 0

    def __enter__(self) -> Self:
        self.port = int(self.answer())
        return self

    def cpu(self) -> float:
        return float(self.ask("cpu"))


def _closing(server: _Server) -> float:
    before = server.cpu()
    for _ in range(_REQUESTS):
        with connect(CLIENTS["IPv4"], server.port) as client:
            client.sendall(_CLOSES)
            while client.recv(65536):
                pass
    return (server.cpu() - before) / _REQUESTS * 1e6


def _staying(server: _Server) -> float:
    with connect(CLIENTS["IPv4"], server.port) as client:
        before = server.cpu()
        for _ in range(_REQUESTS):
            client.sendall(_STAYS)
            answer = b""
            while not answer.endswith(_BODY):
                answer += client.recv(65536)
        return (server.cpu() - before) / _REQUESTS * 1e6
