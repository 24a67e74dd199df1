"""The ready socket in other people's servers: the programs of ``examples/servers``, as a user runs
them, each with curl by both families, and with peers that are in a hurry. The table of
``docs/ready-sockets.md`` says what came of them.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support.builds import CHECKOUT
from support.certificates import Files
from support.early_peers import early_peer
from support.environments import Environment, clean_environment
from support.machines import NO_DUAL_STACK
from support.namespaces import needs_root
from support.processes import PATIENCE, Server
from support.programs import (
    EVERY,
    FAMILIES,
    LOOPBACK,
    Family,
    curl,
    leaks,
    listening_sockets,
    serving,
    until,
)
from support.seccomp import without
from support.servers import LEFT, asked, stopped, visits
from support.told import Told, processes_of

CLIENT = Path(__file__).parent / "programs" / "ready_client.py"
TLS = Path(__file__).parent / "programs" / "ready_tls.py"
EXAMPLES = CHECKOUT / "examples" / "servers"


class Program(NamedTuple):
    """A program of the examples, and what differs from one to another."""

    name: str
    options: tuple[str, ...] = ()
    replaced: tuple[str, str] = ("8080", "8080")
    """What of its text is replaced by what."""
    access_log: bool = True
    """Whether its server writes one that has addresses."""
    answers_half_closed: bool = True
    """Whether its server answers a peer that has half-closed, which is the server's own choice."""
    telling: bool = True
    """Whether plugins are told of its connections."""
    collected: int = 0
    """How many connections its server leaves to the garbage collector: eventlet those on which an
    answer fails, on its own listener, too."""
    sockets: int = 1
    listeners: int = 1
    """How often a listener is opened: a worker process that is handed it opens it, too."""

    killed: int = 0
    """How many of these may be killed at the end: hypercorn doesn't wait for its workers."""

    def command(self, environment: Environment) -> list[str]:
        if self.name.startswith("gunicorn"):
            return [environment.program("gunicorn"), "-c", f"{self.name}.py", *self.options]
        return [str(environment.python), f"{self.name}.py", *self.options]

    def __str__(self) -> str:
        return " ".join((self.name, *self.options))


GUNICORN = "gunicorn.conf"
# gevent's workers may miss the first request to end, and have half a minute.
HASTE = ("--graceful-timeout", "1")
PROGRAMS = (
    Program("uvicorn_server"),
    Program("uvicorn_workers", listeners=3),
    Program("uvicorn_reload", listeners=2),
    Program("uvicorn_uvloop", telling=False, sockets=2, listeners=2),
    Program("aiohttp_server", answers_half_closed=False),
    Program("aiohttp_site", answers_half_closed=False),
    Program("hypercorn_server"),
    Program("hypercorn_workers", listeners=3, killed=2),
    Program("tornado_server"),
    Program("waitress_server", access_log=False),
    Program(GUNICORN),
    Program(GUNICORN, ("-k", "gthread", "--threads", "2")),
    Program(GUNICORN, ("-k", "tornado"), access_log=False, answers_half_closed=False),
    Program(
        GUNICORN,
        ("-k", "asgi", "--asgi-loop", "asyncio", "application:asgi"),
        answers_half_closed=False,
    ),
    Program("gunicorn_gevent.conf", HASTE, telling=False),
    Program("cheroot_server", access_log=False),
    Program("gevent_server"),
    Program("gevent_plain", telling=False),
    Program("eventlet_server", collected=2),
    Program("werkzeug_server"),
    Program("django_server", access_log=False),
    Program("django_runserver", access_log=False),
)
MORE = (
    Program("bottle_server"),
    Program("cherrypy_server"),
    Program("daphne_server", access_log=False),
    # Its reloader ends without the server that it has begun.
    Program("django_runserver", replaced=('"--noreload", ', ""), access_log=False, killed=1),
    Program("sanic_server", access_log=False),
)
PROTOCOLS = ("aiosmtpd", "asyncssh", "dnslib", "paramiko", "websockets")
"""Those that speak no HTTP."""


@pytest.fixture
def environment(servers: Environment) -> Environment:
    return servers


@contextlib.contextmanager
def served(
    program: Program,
    environment: Environment,
    folder: Path,
    told: Told,
    prefix: tuple[str, ...] = (),
) -> Iterator[tuple[Server, int]]:
    """A program, in a process group of its own, on a port in place of its own one."""

    def command(port: int) -> list[str]:
        shutil.rmtree(folder / "servers", ignore_errors=True)
        shutil.copytree(EXAMPLES, folder / "servers")
        for path in (folder / "servers").glob("*.py"):
            text = path.read_text().replace(*program.replaced)
            path.write_text(text.replace("8080", str(port)))
        return [*prefix, *program.command(environment)]

    variables = clean_environment(PYTHONDONTWRITEBYTECODE="1", **told.variables)
    (folder / "servers").mkdir()
    with serving(command, cwd=folder / "servers", env=variables, start_new_session=True) as (
        server,
        port,
    ):
        yield server, port
        server.process.send_signal(signal.SIGINT)
        server.process.wait(PATIENCE)


@pytest.mark.parametrize("program", [*PROGRAMS, *(MORE if EVERY else ())], ids=str)
def test_a_server_sees_and_tells_no_mapped_address(
    program: Program, environment: Environment, tmp_path: Path
) -> None:
    told = Told(tmp_path / "told")
    with served(program, environment, tmp_path, told) as (server, port):
        until(lambda: len(told.lines("opened")) >= program.listeners, server)
        assert len(listening_sockets(port)) == program.sockets
        answers, peers = visits(server, port, program.answers_half_closed)
        if program.telling:
            number = len(peers) + 2 * len(FAMILIES) - program.collected
            until(lambda: len(told.lines("lost")) >= number, server)
    log = server.log()
    assert leaks("".join(answers) + log + told.text()) == []
    if program.access_log:
        for address in LOOPBACK.values():
            assert any("GET /" in line and address in line for line in log.splitlines())
    assert len(told.lines("opened")) == program.listeners
    closed = len(told.lines("closed"))
    assert program.listeners - program.killed <= closed <= program.listeners
    made = told.connections("made")
    lost = told.connections("lost")
    assert lost <= made
    assert (made - lost).total() <= program.collected
    if program.telling:
        assert set(made.values()) == {1}
        for peer in peers:
            name = " ".join(map(str, (*peer.name[:2], *peer.server[:2])))
            assert name in {what for _, what in made}


if EVERY:

    @pytest.mark.parametrize("name", PROTOCOLS)
    def test_a_server_of_another_protocol_sees_no_mapped_address(
        name: str, environment: Environment, tmp_path: Path
    ) -> None:
        def ask(family: Family) -> None:
            answer = environment.run(CLIENT, name, LOOPBACK[family], str(port))
            assert f"hello {LOOPBACK[family]}" in answer
            assert leaks(answer) == []

        told = Told(tmp_path / "told")
        listeners = 2 if name == "dnslib" else 1
        program = Program(f"{name}_server")
        with served(program, environment, tmp_path, told) as (server, port):
            until(lambda: len(told.lines("opened")) >= listeners, server)
            for family in FAMILIES:
                ask(family)
            with contextlib.ExitStack() as stack:
                with stopped(server):
                    for family in FAMILIES:
                        for deed in LEFT:
                            stack.enter_context(early_peer(LOOPBACK[family], port, deed, b"\r\n"))
            for family in FAMILIES:
                ask(family)
        assert leaks(server.log() + told.text()) == []
        assert len(told.lines("closed")) == listeners
        made, lost = told.connections("made"), told.connections("lost")
        assert lost <= made
        assert set(made.values()) == {1}


@pytest.mark.parametrize(
    "program",
    [
        Program("uvicorn_server", replaced=('loop="asyncio"', 'loop="uvloop"')),
        Program(GUNICORN, ("-k", "gevent", *HASTE)),
        Program(GUNICORN, ("-k", "asgi", "--asgi-loop", "uvloop", "application:asgi")),
    ],
    ids=str,
)
def test_what_the_table_warns_of_leaks(
    program: Program, environment: Environment, tmp_path: Path
) -> None:
    with served(program, environment, tmp_path, Told(tmp_path / "told")) as (server, port):
        assert leaks(asked("-4", port))
    warning = "bare descriptor of [::]:" if "gevent" in program.options else "uvloop.Loop accepts"
    assert warning in server.log()


# Those that look at the socket's family or take its name apart.
LOOKING = ("cheroot_server", "gunicorn", "tornado", "uvicorn_workers", "waitress", "werkzeug")


@needs_root
@pytest.mark.parametrize(
    "program", [each for each in PROGRAMS if each.name.startswith(LOOKING)], ids=str
)
def test_one_family_is_served_where_no_socket_serves_both(
    program: Program, environment: Environment, tmp_path: Path
) -> None:
    told = Told(tmp_path / "told")
    with served(program, environment, tmp_path, told, without(NO_DUAL_STACK)) as (_, port):
        assert "hello 127.0.0.1" in asked("-4", port)
    assert {line.what for line in told.lines("opened")} == {"ipv4"}


TLS_SERVERS = ("aiohttp", "cheroot", "gevent", "gunicorn", "hypercorn", "tornado", "uvicorn")


@pytest.mark.parametrize("name", [*TLS_SERVERS, "werkzeug"])
def test_with_tls_a_server_sees_and_tells_no_mapped_address(
    name: str, environment: Environment, tmp_path: Path
) -> None:
    files = Files.written_to(tmp_path)
    told = Told(tmp_path / "told")

    def command(port: int) -> list[str]:
        certificate, key = str(files.full_chain), str(files.key)
        if name != "gunicorn":
            return [str(environment.python), str(TLS), name, str(port), certificate, key]
        text = (EXAMPLES / "gunicorn.conf.py").read_text().replace("8080", str(port))
        (tmp_path / "gunicorn.conf.py").write_text(text)
        return [environment.program("gunicorn"), "--certfile", certificate, "--keyfile", key]

    variables = clean_environment(
        PYTHONPATH=str(EXAMPLES), PYTHONDONTWRITEBYTECODE="1", **told.variables
    )
    with serving(command, cwd=tmp_path, env=variables) as (server, port):
        answers = [
            curl(family, port, "--cacert", str(files.root), scheme="https") for family in FAMILIES
        ]
        if name != "gevent":
            until(lambda: len(told.lines("lost")) >= len(FAMILIES), server)
        server.process.send_signal(signal.SIGINT)
        server.process.wait(PATIENCE)
    for family, answer in zip(FAMILIES, answers, strict=True):
        assert f"hello {LOOPBACK[family]}" in answer
    assert leaks("".join(answers) + server.log() + told.text()) == []
    assert told.connections("made") == told.connections("lost")
    assert len(told.lines("opened")) == len(told.lines("closed")) == 1


def test_gunicorn_starts_its_workers_anew(environment: Environment, tmp_path: Path) -> None:
    def workers() -> set[int]:
        return set(processes_of(server.process.pid)) - {server.process.pid}

    told = Told(tmp_path / "told")
    with served(Program(GUNICORN), environment, tmp_path, told) as (server, port):
        until(lambda: len(workers()) == 2, server)
        before = workers()
        server.process.send_signal(signal.SIGHUP)
        until(lambda: len(workers()) == 2 and not before & workers(), server)
        for family in FAMILIES:
            assert f"hello {LOOPBACK[family]}" in asked(family, port)
    assert len(told.lines("opened")) == len(told.lines("closed")) == 1


@pytest.mark.parametrize("name", ["uvicorn_uvloop.py", "gunicorn.conf.py", "werkzeug_server.py"])
def test_a_recipe_of_the_page_is_what_has_been_run(name: str) -> None:
    page = (CHECKOUT / "docs" / "ready-sockets.md").read_text()
    [recipe] = re.findall(
        rf"^```python {re.escape(name)}\n(.*?)^```", page, re.MULTILINE | re.DOTALL
    )
    assert recipe in (EXAMPLES / name).read_text()


def test_every_program_is_run() -> None:
    programs = {path.name.removesuffix(".py") for path in EXAMPLES.glob("*.py")} - {"application"}
    assert programs == {program.name for program in (*PROGRAMS, *MORE)} | {
        f"{name}_server" for name in PROTOCOLS
    }
