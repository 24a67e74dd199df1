"""The servers of two sockets in examples/legacy: migrated by the command, then run."""

from __future__ import annotations

import errno
import shutil
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.environments import clean_environment
from support.processes import running_command
from support.programs import LOOPBACK, free_port, listening_sockets

LEGACY = Path(__file__).parents[2] / "examples" / "legacy"
NEEDS = {
    "twisted_echo.py": "dsadapter.frameworks.twisted",
    "asyncio_echo.py": "dsadapter.frameworks.asyncio",
    "socketserver_echo.py": "dsadapter.frameworks.blocking",
}
READY = [name for name, module in NEEDS.items() if find_spec(module) is not None]
"""Whose framework this version has."""


def migrate(folder: Path, name: str) -> Path:
    file = folder / name
    shutil.copy(LEGACY / name, file)
    command = [sys.executable, "-m", "dsadapter", "migrate", "--write", str(file)]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, check=False)
    assert done.returncode == 1, done.stderr
    return file


def ask(host: str, port: int) -> str:
    with socket.create_connection((host, port), timeout=60) as connection:
        connection.sendall(b"\r\n")
        return connection.makefile().readline().strip()


@pytest.mark.parametrize("name", READY)
def test_a_migrated_server_serves_both_families_through_one_socket(tmp_path, name):
    file = migrate(tmp_path, name)
    port = free_port()
    with running_command([sys.executable, str(file), str(port)]) as server:
        server.wait_for_log("listening")
        assert ask(LOOPBACK["-4"], port) == "127.0.0.1"
        assert ask(LOOPBACK["-6"], port) == "::1"
        assert len(listening_sockets(port)) == 1


@pytest.mark.parametrize("name", READY)
def test_a_migrated_server_ends_where_its_port_is_held(tmp_path, name):
    """As loudly as before: it would otherwise run on and serve nobody."""
    file = migrate(tmp_path, name)
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as held:
        done = subprocess.run(
            [sys.executable, str(file), str(held.getsockname()[1])],
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode != 0
    assert f"[Errno {errno.EADDRINUSE}]" in done.stderr
    assert "listening" not in done.stdout


@pytest.mark.parametrize("name", NEEDS)
def test_each_is_found_and_sure(name):
    command = [sys.executable, "-m", "dsadapter", "scan", str(LEGACY / name)]
    done = subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert " certain  " in done.stdout
    assert " likely  " not in done.stdout
