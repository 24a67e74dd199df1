"""Other people's servers: one environment with all of them, and peers that are in a hurry."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.builds import Distributions
from support.environments import Environment, create_environment
from support.processes import PATIENCE, Server
from support.programs import Family, curl, until
from support.told import build_telling_plugin, processes_of

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
LEFT = ("half-closes", "closes", "resets")

PACKAGES = (
    *("aiohttp", "cheroot", "django", "eventlet", "flask", "gevent", "gunicorn", "hypercorn"),
    *("tornado", "trio", "uvicorn", "uvloop", "waitress", "werkzeug"),
)


def servers_environment(
    distributions: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """Every server, and a plugin that tells what it is told."""
    folder = tmp_path_factory.mktemp("servers")
    made = create_environment(folder / "environment", "uv")
    made.install(distributions.wheel, build_telling_plugin(folder), *PACKAGES)
    return made


@contextlib.contextmanager
def stopped(server: Server) -> Iterator[None]:
    """Nothing is accepted meanwhile."""

    def states() -> set[str]:
        group = processes_of(server.process.pid)
        stats = [Path(f"/proc/{process}/stat").read_text() for process in group]
        return {stat.rpartition(")")[2].split()[0] for stat in stats}

    os.killpg(server.process.pid, signal.SIGSTOP)
    try:
        until(lambda: states() <= {"T", "Z"}, server)
        yield
    finally:
        os.killpg(server.process.pid, signal.SIGCONT)


def asked(family: Family, port: int) -> str:
    """By a client that keeps no connection, for which some servers would wait."""
    return curl(family, port, "-H", "Connection: close")


def answer_of(client: socket.socket) -> str:
    """All that a server sends."""
    client.settimeout(PATIENCE)
    with contextlib.suppress(ConnectionResetError):
        return b"".join(iter(lambda: client.recv(1000), b"")).decode()
    return ""
