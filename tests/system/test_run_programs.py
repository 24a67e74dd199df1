"""``dsadapter run`` before other people's servers, which know nothing of it: each with curl by both
families, with peers that are in a hurry, and with a plugin that is told."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support.environments import Environment, clean_environment
from support.processes import PATIENCE, Server
from support.programs import EVERY, FAMILIES, LOOPBACK, leaks, listening_sockets, serving, until
from support.servers import asked, visits
from support.told import Told, processes_of

PLAIN = Path(__file__).parent / "programs" / "plain"


class Program(NamedTuple):
    """A command line, with PORT in the place of the port, and how its server differs."""

    line: str
    access_log: bool = True
    answers_half_closed: bool = True
    """Whether its server answers a peer that has half-closed, which is the server's own choice."""
    lost: bool = True
    """Whether each connection is closed: eventlet leaves those on which an answer fails."""

    def command(self, environment: Environment, port: int, *options: str) -> list[str]:
        name, *arguments = [word.replace("PORT", str(port)) for word in self.line.split()]
        program = str(environment.python) if name == "python" else environment.program(name)
        return [environment.program("dsadapter"), "run", *options, "--", program, *arguments]

    def __str__(self) -> str:
        return self.line.replace("-b [::]:PORT ", "").replace("--host :: --port PORT ", "")


UVICORN = "uvicorn --host :: --port PORT "
GUNICORN = "gunicorn --access-logfile - --graceful-timeout 1 -b [::]:PORT "
HYPERCORN = "hypercorn --access-logfile - -b [::]:PORT "
MORE = (
    (
        Program("python cherrypy_plain.py PORT"),
        Program(UVICORN + "--loop uvloop fastapi_plain:app"),
    )
    if EVERY
    else ()
)
PROGRAMS = (
    Program(UVICORN + "--loop asyncio application:asgi"),
    Program(UVICORN + "--loop uvloop application:asgi"),
    Program(UVICORN + "--loop asyncio --workers 2 application:asgi"),
    Program(UVICORN + "--loop uvloop --workers 2 application:asgi"),
    Program(HYPERCORN + "application:asgi"),
    Program(HYPERCORN + "-k uvloop application:asgi"),
    Program(HYPERCORN + "-k trio application:asgi"),
    Program(HYPERCORN + "-w 2 application:asgi"),
    Program(GUNICORN + "application:wsgi"),
    Program(GUNICORN + "-w 2 -k gthread application:wsgi"),
    Program(GUNICORN + "-k gevent application:wsgi"),
    Program(GUNICORN + "-k tornado application:wsgi", False, False),
    Program(GUNICORN + "-k asgi --asgi-loop asyncio application:asgi", answers_half_closed=False),
    Program(GUNICORN + "-k asgi --asgi-loop uvloop application:asgi", answers_half_closed=False),
    Program("waitress-serve --listen=[::]:PORT application:wsgi", False),
    Program("flask --app flask_plain run --host :: --port PORT"),
    Program("python django_plain.py PORT", False),
    Program("python aiohttp_plain.py PORT", answers_half_closed=False),
    Program("python tornado_plain.py PORT"),
    Program("python cheroot_plain.py PORT", False),
    Program("python gevent_plain.py PORT"),
    Program("python eventlet_plain.py PORT", lost=False),
    Program("python http_plain.py PORT"),
    Program("python wsgiref_plain.py PORT"),
    Program("python twisted_plain.py PORT"),
    Program(
        "python -m twisted web --listen tcp6:PORT --wsgi application.wsgi",
        answers_half_closed=False,
    ),
    *MORE,
)
TWIST = "python -m twisted web --wsgi application.wsgi "
PAIRS = (
    Program("uvicorn --host= --port PORT --loop asyncio application:asgi"),
    Program("uvicorn --host= --port PORT --loop uvloop application:asgi"),
    Program("python aiohttp_plain.py PORT pair", answers_half_closed=False),
    Program(TWIST + "--listen tcp:PORT --listen tcp6:PORT", answers_half_closed=False),
    Program(TWIST + "--listen tcp6:PORT --listen tcp:PORT", answers_half_closed=False),
)


@contextlib.contextmanager
def covered(
    program: Program, servers: Environment, told: Told, *options: str
) -> Iterator[tuple[Server, int]]:
    """A program under the launcher, in a process group of its own."""
    variables = clean_environment(PYTHONDONTWRITEBYTECODE="1", **told.variables)
    with serving(
        lambda port: program.command(servers, port, *options),
        cwd=PLAIN,
        env=variables,
        start_new_session=True,
    ) as (server, port):
        yield server, port
        server.process.send_signal(signal.SIGINT)
        server.process.wait(PATIENCE)


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_a_server_sees_no_mapped_address(
    program: Program, servers: Environment, tmp_path: Path
) -> None:
    told = Told(tmp_path / "told")
    with covered(program, servers, told) as (server, port):
        until(lambda: bool(told.lines("opened")), server)
        assert len(listening_sockets(port)) == 1
        answers, peers = visits(server, port, program.answers_half_closed)
        number = len(peers) + 2 * len(FAMILIES)
        until(lambda: len(told.lines("made")) >= number, server)
        if program.lost:
            until(lambda: len(told.lines("lost")) >= number, server)
    log = server.log()
    assert leaks("".join(answers) + log + told.text()) == []
    # Some write a traceback of what a peer has done, or of being interrupted; none is ours.
    assert not re.search(r'File ".*/dsadapter/', log), log
    if program.access_log:
        for address in LOOPBACK.values():
            assert any("GET /" in line and address in line for line in log.splitlines())
    made = told.connections("made")
    assert set(made.values()) == {1}
    for peer in peers:
        name = " ".join(map(str, (*peer.name[:2], *peer.server[:2])))
        assert name in {what for _, what in made}


@pytest.mark.parametrize("program", PAIRS, ids=str)
def test_a_pair_with_one_accept_loop_is_one_socket(
    program: Program, servers: Environment, tmp_path: Path
) -> None:
    told = Told(tmp_path / "told")
    with covered(program, servers, told, "--merge-pairs") as (server, port):
        until(lambda: f"0.0.0.0:{port} and [::]:{port} are one socket" in server.log(), server)
        # The first one of Twisted's two closes when nothing can wait for it any more.
        until(lambda: len(listening_sockets(port)) == 1, server)
        answers, peers = visits(server, port, program.answers_half_closed)
        number = len(peers) + 2 * len(FAMILIES)
        until(lambda: len(told.lines("lost")) >= number, server)
    log = server.log()
    assert leaks("".join(answers) + log + told.text()) == []
    assert not re.search(r'File ".*/dsadapter/', log), log
    for address in LOOPBACK.values():
        assert any("GET /" in line and address in line for line in log.splitlines())
    assert set(told.connections("made").values()) == {1}


def test_a_server_starts_its_workers_anew(servers: Environment, tmp_path: Path) -> None:
    def workers() -> set[int]:
        return set(processes_of(server.process.pid)) - {server.process.pid}

    program = Program(GUNICORN + "-w 2 application:wsgi")
    with covered(program, servers, Told(tmp_path / "told")) as (server, port):
        until(lambda: len(workers()) == 2, server)
        before = workers()
        server.process.send_signal(signal.SIGHUP)
        until(lambda: len(workers()) == 2 and not before & workers(), server)
        for family in FAMILIES:
            assert f"hello {LOOPBACK[family]}" in asked(family, port)
    assert server.process.returncode == 0


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_server_reloads(servers: Environment, tmp_path: Path, loop: str) -> None:
    (tmp_path / "application.py").write_text((PLAIN / "application.py").read_text())
    program = Program(f"{UVICORN} --loop {loop} --reload --app-dir {tmp_path} application:asgi")
    variables = clean_environment(PYTHONDONTWRITEBYTECODE="1")
    with serving(lambda port: program.command(servers, port), cwd=tmp_path, env=variables) as (
        server,
        port,
    ):
        until(lambda: "Application startup complete" in server.log(), server)
        for family in FAMILIES:
            assert f"hello {LOOPBACK[family]}" in asked(family, port)
        text = (tmp_path / "application.py").read_text().replace("hello", "good day")
        (tmp_path / "application.py").write_text(text)
        until(lambda: server.log().count("Application startup complete") == 2, server)
        for family in FAMILIES:
            assert f"good day {LOOPBACK[family]} from {LOOPBACK[family]}" in asked(family, port)


def test_an_inherited_descriptor_of_the_wrong_declared_family(
    servers: Environment, tmp_path: Path
) -> None:
    """uvicorn takes what ``--fd`` names for an AF_UNIX socket."""
    import socket

    from support.processes import running_command

    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listening:
        port = listening.getsockname()[1]
        command = [servers.program("dsadapter"), "run", "--", servers.program("uvicorn")]
        command += ["--fd", str(listening.fileno()), "application:asgi"]
        with running_command(
            command, cwd=PLAIN, env=clean_environment(), pass_fds=[listening.fileno()]
        ) as server:
            until(lambda: "Uvicorn running" in server.log(), server)
            for family in FAMILIES:
                assert f"hello {LOOPBACK[family]} from {LOOPBACK[family]}" in asked(family, port)
            log = server.stop()
    assert leaks(log) == []


def test_without_the_launcher_they_leak(servers: Environment, tmp_path: Path) -> None:
    program = [servers.program("gunicorn"), "-b", "[::]:PORT", "application:wsgi"]
    with serving(
        lambda port: [word.replace("PORT", str(port)) for word in program],
        cwd=PLAIN,
        env=clean_environment(PYTHONDONTWRITEBYTECODE="1"),
    ) as (_, port):
        assert leaks(asked("-4", port))
