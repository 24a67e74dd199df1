"""``dsadapter run`` on Windows: servers of others, asked from this machine, and what ends them."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest
from support.early_peers import early_peer
from support.processes import PATIENCE
from support.programs import (
    FAMILIES,
    LOOPBACK,
    curl,
    leaks,
    listening_sockets,
    serving,
    until,
    until_logged,
)
from support.wine import Windows, path_of_windows

STREAMS = """
import socket, socketserver, sys

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline().strip():
            pass
        print("served", *self.client_address[:2], flush=True)
        body = f"{self.client_address[0]} {self.request.getsockname()[0]}"
        self.wfile.write(f"HTTP/1.0 200 OK\\r\\nConnection: close\\r\\n\\r\\n{body}".encode())

class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6

Server(("::", int(sys.argv[1])), Handler).serve_forever()
"""
APPLICATION = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    print("served", *scope["client"], flush=True)
    body = f"{scope['client'][0]} {scope['server'][0]}".encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""
WAITS = """
import time
try:
    print("begun", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    raise SystemExit(5)
"""


def http_server(folder: Path, port: int) -> list[str]:
    return ["-m", "http.server", "--bind", "::", "--directory", path_of_windows(folder), f"{port}"]


def socketserver(folder: Path, port: int) -> list[str]:
    (folder / "streams.py").write_text(STREAMS)
    return [path_of_windows(folder / "streams.py"), f"{port}"]


def uvicorn(folder: Path, port: int) -> list[str]:
    (folder / "application.py").write_text(APPLICATION)
    where = ["--app-dir", path_of_windows(folder), "--host", "::", "--port", f"{port}"]
    return ["-m", "uvicorn", *where, "application:app"]


@pytest.mark.parametrize(
    ("program", "logged", "answers_half_closed"),
    [
        (http_server, "{0} - - ", True),
        (socketserver, "served {0} {1}", True),
        (uvicorn, "served {0} {1}", False),
    ],
)
def test_an_unchanged_server_serves_both_families_by_their_own_names(
    windows: Windows,
    tmp_path: Path,
    program: Callable[[Path, int], list[str]],
    logged: str,
    answers_half_closed: bool,
) -> None:
    (tmp_path / "index.html").write_text("127.0.0.1 ::1")

    def command(port: int) -> list[str]:
        words = program(tmp_path, port)
        return windows.command("-m", "dsadapter", "run", "--explain", "--", *words)

    with serving(command, env=windows.environment) as (server, port):
        [_] = listening_sockets(port)
        for family in FAMILIES:
            mine = LOOPBACK[family]
            body = curl(family, port).splitlines()[-1]
            assert mine in body
            assert program is http_server or body == f"{mine} {mine}"
            with early_peer(mine, port, "half-closes", b"GET / HTTP/1.0\r\n\r\n") as peer:
                answer = peer.client.makefile("rb").read()
                assert not answers_half_closed or mine.encode() in answer
                until_logged(logged.format(*peer.name), server)
        log = server.stop()

    assert leaks(log) == []


@pytest.mark.parametrize("launched", [False, True])
def test_ctrl_c_is_the_programs(windows: Windows, tmp_path: Path, launched: bool) -> None:
    """Typed on a terminal, which becomes a console of Windows."""
    (tmp_path / "waits.py").write_text(WAITS)
    words = ["-m", "dsadapter", "run", "--"] if launched else []
    command = windows.command(*words, tmp_path / "waits.py")
    terminal, of_program = pty.openpty()

    def have_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    with subprocess.Popen(
        command,
        stdin=of_program,
        stdout=of_program,
        stderr=of_program,
        env=windows.environment | {"TERM": "xterm"},
        preexec_fn=have_terminal,
    ) as process:
        os.close(of_program)
        try:
            output = read_until(terminal, b"begun")
            os.write(terminal, b"\x03")
            output += read_until(terminal, b"interrupted")
            assert b"Traceback" not in output
            assert process.wait(PATIENCE) == 5
        finally:
            process.kill()
            os.close(terminal)


def read_until(terminal: int, text: bytes) -> bytes:
    output = b""
    deadline = monotonic() + PATIENCE
    while text not in output:
        assert monotonic() < deadline, output
        if select.select([terminal], [], [], 1)[0]:
            output += os.read(terminal, 4096)
    return output


def test_the_program_ends_with_the_command(windows: Windows, tmp_path: Path) -> None:
    def command(port: int) -> list[str]:
        return windows.command("-m", "dsadapter", "run", "--", *socketserver(tmp_path, port))

    with serving(command, env=windows.environment) as (server, port):
        server.process.kill()
        until(lambda: listening_sockets(port) == [], server)
