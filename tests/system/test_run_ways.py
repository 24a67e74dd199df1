"""``dsadapter run`` before other people's servers in the ways that they are operated: descriptors
that somebody else has opened, restarts, TLS, and programs that speak no HTTP."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from xmlrpc.client import ServerProxy

import pytest
from support.certificates import Files
from support.environments import Environment, clean_environment
from support.launched import finished
from support.namespaces import OwnLoopback
from support.processes import PATIENCE, Server, running_command
from support.programs import (
    EVERY,
    FAMILIES,
    LOOPBACK,
    curl,
    free_port,
    leaks,
    listening_sockets,
    serving,
    until,
    until_logged,
)
from support.servers import asked
from support.told import processes_of

PLAIN = Path(__file__).parent / "programs" / "plain"
QUIET = {"PYTHONDONTWRITEBYTECODE": "1"}


@contextlib.contextmanager
def covered(servers: Environment, *words: str, cwd: Path = PLAIN) -> Iterator[tuple[Server, int]]:
    """A program of the environment under the launcher, with PORT in the place of its port."""
    run = [servers.program("dsadapter"), "run", "--"]
    program = str(servers.python) if words[0] == "python" else servers.program(words[0])

    def command(port: int) -> list[str]:
        return [*run, program, *(word.replace("PORT", str(port)) for word in words[1:])]

    with serving(
        command, cwd=cwd, env=clean_environment(**QUIET), start_new_session=True
    ) as running:
        yield running


def answers(port: int, ask: Callable[..., str] = asked) -> None:
    for family in FAMILIES:
        assert f"hello {LOOPBACK[family]}" in ask(family, port)


@pytest.mark.parametrize(
    "start",
    [
        "hypercorn --access-logfile - -b fd://3 application:asgi",
        "gunicorn --access-logfile - application:wsgi",
        "gunicorn --access-logfile - -b fd://3 application:wsgi",
    ],
)
@pytest.mark.parametrize("v6only", [0, 1])
def test_a_descriptor_of_somebody_else(servers: Environment, start: str, v6only: int) -> None:
    """One that serves both is translated; one for IPv6 alone stays what it is."""
    name, *arguments = start.split()
    with socket.socket(socket.AF_INET6) as listening:
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        listening.bind(("::", 0))
        listening.listen()
        port = listening.getsockname()[1]
        told = "" if "fd://3" in start else "LISTEN_PID=$$ LISTEN_FDS=1"
        shell = f'exec 3<&"$1"; shift; {told} exec "$@"'
        program = [servers.program("dsadapter"), "run", "--", servers.program(name), *arguments]
        with running_command(
            ["bash", "-c", shell, "bash", str(listening.fileno()), *program],
            cwd=PLAIN,
            env=clean_environment(**QUIET),
            pass_fds=[listening.fileno()],
        ) as server:
            until(lambda: "istening at" in server.log() or "Running on" in server.log(), server)
            if v6only:
                assert "hello ::1" in asked("-6", port)
            else:
                answers(port)
            log = server.stop()
    assert leaks(log) == []


@pytest.mark.parametrize(
    "start",
    [
        "uvicorn --host :: --port PORT --loop asyncio {tls} application:asgi",
        "uvicorn --host :: --port PORT --loop uvloop {tls} application:asgi",
        "hypercorn -b [::]:PORT {tls} application:asgi",
        "gunicorn -b [::]:PORT {tls} application:wsgi",
        "gunicorn -b [::]:PORT -k gthread {tls} application:wsgi",
        "gunicorn -b [::]:PORT -k gevent {tls} application:wsgi",
    ],
    # The port is put into every word, and a temporary folder has this name.
    ids=["asyncio", "uvloop", "hypercorn", "gunicorn", "gthread", "gevent"],
)
def test_tls(servers: Environment, tmp_path: Path, start: str) -> None:
    files = Files.written_to(tmp_path)
    prefix = "--ssl-" if start.startswith("uvicorn") else "--"
    tls = f"{prefix}keyfile {files.key} {prefix}certfile {files.full_chain}"

    def ask(family: str, port: int) -> str:
        options = ("--cacert", str(files.root), "-H", "Connection: close")
        return curl(family, port, *options, scheme="https")  # type: ignore[arg-type]

    with covered(servers, *start.format(tls=tls).split()) as (server, port):
        answers(port, ask)
        assert len(listening_sockets(port)) == 1
        log = server.stop()
    assert leaks(log) == []


def test_a_server_is_replaced_by_a_new_one(servers: Environment) -> None:
    """gunicorn starts a new program on USR2, which takes the listener over."""
    command = ("gunicorn", "-w", "2", "-b", "[::]:PORT", "application:wsgi")
    with covered(servers, *command) as (server, port):
        until(lambda: server.log().count("Booting worker") == 2, server)
        answers(port)
        old = server.process.pid
        try:
            server.process.send_signal(signal.SIGUSR2)
            until(lambda: server.log().count("Booting worker") == 4, server)
            answers(port)
            server.process.send_signal(signal.SIGQUIT)
            server.process.wait(PATIENCE)
            for _ in range(3):
                answers(port)
            log = server.log()
        finally:
            # The new one has another parent.
            for process in processes_of(old):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGTERM)
    assert leaks(log) == []
    assert "stays" not in log


MONKEYS = {
    "gevent": "import gevent.monkey; gevent.monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
SERVE_TWO = """
def serve():
    for _ in range(2):
        client, name = server.accept()
        client.sendall(f"{name[0]} {client.getpeername()[0]}".encode())
        client.close()
server = socket.socket(socket.AF_INET6)
server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
server.bind(("::", 0))
server.listen()
thread = threading.Thread(target=serve)
thread.start()
for host in "127.0.0.1", "::1":
    print(socket.create_connection((host, server.getsockname()[1])).recv(99).decode())
thread.join()
datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
datagrams.bind(("::", 0))
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.sendto(b"x", ("127.0.0.1", datagrams.getsockname()[1]))
data, name = datagrams.recvfrom(9)
datagrams.sendto(data, name)
print(name[0], client.recvfrom(9)[1][0])
"""


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("monkey", MONKEYS)
def test_a_program_that_patches_sockets_itself(
    servers: Environment, monkey: str, order: str
) -> None:
    lines = [MONKEYS[monkey], "import socket, threading"]
    source = "\n".join(lines if order == "before" else lines[::-1]) + SERVE_TWO
    command = [servers.program("dsadapter"), "run", "--", str(servers.python), "-c", source]
    done = finished(command, env=clean_environment(**QUIET))
    assert done.stdout == "127.0.0.1 127.0.0.1\n::1 ::1\n127.0.0.1 127.0.0.1\n", done.stderr
    assert "stays as it is" not in done.stderr


def test_xmlrpc(servers: Environment) -> None:
    with covered(servers, "python", "xmlrpc_plain.py", "PORT") as (server, port):
        for host in "127.0.0.1", "[::1]":
            with ServerProxy(f"http://{host}:{port}") as proxy:
                assert proxy.anything() == f"hello {host.strip('[]')}"
        log = server.stop()
    assert leaks(log) == []
    assert "127.0.0.1 - - " in log


def test_socks(servers: Environment, tmp_path: Path) -> None:
    """SOCKS 4 knows IPv4 destinations alone. Its log of connections fails on Python 3."""
    with socket.create_server(("127.0.0.1", 0)) as echo:
        there = echo.getsockname()[1]
        request = struct.pack("!BBH", 4, 1, there) + socket.inet_aton("127.0.0.1") + b"me\0"
        command = ("twistd", "-n", "--pidfile=", "socks", "-i", "::", "-p", "PORT")
        with covered(servers, *command, cwd=tmp_path) as (server, port):
            for family in FAMILIES:
                with socket.create_connection((LOOPBACK[family], port), timeout=60) as client:
                    client.sendall(request)
                    accepted, _ = echo.accept()
                    with accepted:
                        assert client.recv(8)[:2] == b"\0\x5a"
                        client.sendall(b"there")
                        assert accepted.recv(5) == b"there"
                        accepted.sendall(b"back")
                        assert client.recv(4) == b"back"
            assert len(listening_sockets(port)) == 1
            output = server.stop()
    assert leaks(output) == []


if EVERY:

    @pytest.fixture
    def alone() -> Iterator[None]:
        """Nothing that these say leaves the machine."""
        with OwnLoopback().entered():
            yield

    def test_scrapyd(servers: Environment, tmp_path: Path, alone: None) -> None:
        port = free_port()
        conf = tmp_path / "scrapyd.conf"
        conf.write_text(f"[scrapyd]\nbind_address = ::\nhttp_port = {port}\n")
        command = [servers.program("dsadapter"), "run", "--", servers.program("scrapyd")]
        with running_command(command, cwd=tmp_path, env=clean_environment(**QUIET)) as server:
            until(lambda: bool(listening_sockets(port)), server)
            for family in FAMILIES:
                assert "Scrapyd" in curl(family, port)
                until_logged(f'"{LOOPBACK[family]}" - - ', server)
            assert len(listening_sockets(port)) == 1
            log = server.stop()
        assert leaks(log) == []

    def test_jetforce(servers: Environment, tmp_path: Path, alone: None) -> None:
        files = Files.written_to(tmp_path)
        (tmp_path / "index.gmi").write_text("hello\n")
        command = ("jetforce", "--host", "::", "--port", "PORT", "--dir", str(tmp_path))
        tls = ("--tls-certfile", str(files.full_chain), "--tls-keyfile", str(files.key))
        context = ssl.create_default_context(cafile=str(files.root))
        with covered(servers, *command, *tls, cwd=tmp_path) as (server, port):
            for family in FAMILIES:
                with (
                    socket.create_connection((LOOPBACK[family], port), timeout=60) as client,
                    context.wrap_socket(client, server_hostname="localhost") as secure,
                ):
                    secure.sendall(b"gemini://localhost/\r\n")
                    assert secure.recv(1000).startswith(b"20 ")
                until_logged(f"{LOOPBACK[family]} [", server)
            assert len(listening_sockets(port)) == 1
            log = server.stop()
        assert leaks(log) == []

    @pytest.mark.parametrize("hosts", ["['::']", "['::', '0.0.0.0']"])
    def test_synapse(servers: Environment, tmp_path: Path, alone: None, hosts: str) -> None:
        """It goes on without its second listener where the first serves both."""
        port = free_port()
        config = tmp_path / "synapse.yaml"
        program = [str(servers.python), "-m", "synapse.app.homeserver", "-c", str(config)]
        generate = ["--generate-config", "--server-name", "localhost", "--report-stats=no"]
        env = clean_environment(**QUIET)
        subprocess.run([*program, *generate], cwd=tmp_path, env=env, check=True)
        with config.open("a") as file:
            file.write(
                "\nsuppress_key_server_warning: true\ntrusted_key_servers: []\nlisteners:\n"
                f"- {{port: {port}, type: http, bind_addresses: {hosts}, x_forwarded: false,\n"
                "   tls: false, resources: [{names: [client]}]}\n"
            )
        run = [servers.program("dsadapter"), "run", "--", *program]
        with running_command(run, cwd=tmp_path, env=env) as server:
            # It makes its database first.
            until(lambda: bool(listening_sockets(port)), server, 4 * PATIENCE)
            for family in FAMILIES:
                assert "HTTP/1.1 200 OK" in _versions(family, port)
            server.stop()
        log = (tmp_path / "homeserver.log").read_text()
        assert leaks(log) == []
        for address in LOOPBACK.values():
            assert f" - {address} - {port} - " in log

    def _versions(family: str, port: int) -> str:
        url = f"http://localhost:{port}/_matrix/client/versions"
        command = ["curl", family, "-sS", "-i", "--fail", "--max-time", "60", url]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, env=clean_environment(), check=True
        )
        return done.stdout
