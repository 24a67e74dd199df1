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
from support.early_peers import Peer, early_peer
from support.environments import Environment, create_environment
from support.processes import PATIENCE, Server
from support.programs import EVERY, FAMILIES, LOOPBACK, Family, curl, until
from support.told import build_telling_plugin, processes_of

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
LEFT = ("half-closes", "closes", "resets")

PACKAGES = (
    *("aiohttp", "cheroot", "django", "eventlet", "flask", "gevent", "gunicorn", "hypercorn"),
    *("pyftpdlib", "tornado", "trio", "uvicorn", "uvloop", "waitress", "werkzeug"),
)
MORE = (
    *("aiosmtpd", "asyncssh", "bottle", "cherrypy", "daphne", "dnslib", "fastapi", "jetforce"),
    *("matrix-synapse", "paramiko", "sanic", "scrapyd", "websockets"),
)


def servers_environment(
    distributions: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """Every server, and a plugin that tells what it is told."""
    folder = tmp_path_factory.mktemp("servers")
    made = create_environment(folder / "environment", "uv")
    made.install(
        distributions.wheel, build_telling_plugin(folder), *PACKAGES, *(MORE if EVERY else ())
    )
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


def visits(server: Server, port: int, half_closed: bool) -> tuple[list[str], list[Peer]]:
    """Requests by both families, then by peers that have left in some way before they are accepted,
    then as before: the server has got over those.

    :param half_closed: whether the server answers a peer that has half-closed.
    :returns: the answers, each of which names its own client alone, and those peers.
    """
    peers: list[Peer] = []
    answers = [asked(family, port) for family in FAMILIES]
    with contextlib.ExitStack() as stack:
        with stopped(server):
            for family in FAMILIES:
                for deed in LEFT:
                    early = early_peer(LOOPBACK[family], port, deed, REQUEST)
                    peers.append(stack.enter_context(early))
        if half_closed:
            for peer, deed in zip(peers, LEFT * len(FAMILIES), strict=True):
                if deed == "half-closes":
                    answers.append(answer_of(peer.client))
    answers += [asked(family, port) for family in FAMILIES]
    for family, answer in zip(FAMILIES * 3, answers, strict=False):
        assert f"hello {LOOPBACK[family]}" in answer
        assert f" from {LOOPBACK[family]}" in answer or " from " not in answer
    return answers, peers
