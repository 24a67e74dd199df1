"""Programs that serve a port, and what a user sees of them from outside."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

from support.environments import clean_environment
from support.processes import PATIENCE, Server, running_command

Family = Literal["-4", "-6"]
FAMILIES: tuple[Family, ...] = ("-4", "-6")
LOOPBACK: dict[Family, str] = {"-4": "127.0.0.1", "-6": "::1"}

EVERY = bool(os.environ.get("EVERY_PROGRAM"))
"""Whether to run those, too, that take long."""

# Another program may take a port between its choice and its use.
_ATTEMPTS = 5


def free_port() -> int:
    """A port that nobody holds, in either family."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as skt:
        port: int = skt.getsockname()[1]
        return port


def listening_sockets(port: int) -> list[str]:
    """The lines of ``ss`` for the sockets that listen on a TCP port, in either family."""
    listing = subprocess.run(
        ["ss", "-H", "-ltn", f"sport = :{port}"], stdout=subprocess.PIPE, text=True, check=True
    )
    return listing.stdout.splitlines()


def until(condition: Callable[[], bool], server: Server, patience: float = PATIENCE) -> None:
    """Wait for what a server has to do; when it ends or takes too long, show its log."""
    deadline = time.monotonic() + patience
    while not condition():
        running = server.process.poll() is None
        assert running or condition(), f"the server has ended; its log:\n{server.log()}"
        assert time.monotonic() < deadline, f"the server is stuck; its log:\n{server.log()}"
        time.sleep(0.02)


def until_listening(port: int, server: Server) -> None:
    """Wait for a listening socket."""
    until(lambda: bool(listening_sockets(port)), server)


def until_logged(text: str, server: Server) -> None:
    """Wait for a text in a server's log."""
    until(lambda: text in server.log(), server)


def until_served(address: str, server: Server) -> None:
    """Wait for the line of an access log that is about a request from an address.

    ``twist`` writes JSON, with its escaped quotes, where no terminal is.
    """
    line = re.compile(rf'(?<![0-9A-Fa-f:.]){re.escape(address)}\\?" - - ')
    until(lambda: line.search(server.log()) is not None, server)


@contextlib.contextmanager
def serving(command: Callable[[int], list[str]], **kwargs: Any) -> Iterator[tuple[Server, int]]:
    """Run a program on a free port and wait until it listens; ``command`` is given the port."""
    kwargs = {"env": clean_environment()} | kwargs
    for _ in range(_ATTEMPTS):
        port = free_port()
        with running_command(command(port), **kwargs) as server:
            try:
                until_listening(port, server)
            except AssertionError:
                if "in use" not in server.stop():
                    raise
                continue
            yield server, port
            return
    raise AssertionError(f"no free port in {_ATTEMPTS} attempts")


def curl(family: Family, port: int, *options: str, scheme: str = "http") -> str:
    """What curl shows for ``http://localhost``, headers included."""
    command = ["curl", family, "-sS", "-i", "--fail", "--max-time", str(PATIENCE), *options]
    result = subprocess.run(
        [*command, f"{scheme}://localhost:{port}/"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=clean_environment(),
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


_LEAK = re.compile(r"::ffff:|tcp6:127\.", re.IGNORECASE)


def leaks(text: str) -> list[str]:
    """The lines that show an IPv4 peer as if it were an IPv6 one."""
    return [line for line in text.splitlines() if _LEAK.search(line)]
