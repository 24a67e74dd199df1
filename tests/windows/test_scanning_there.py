"""``dsadapter scan`` and ``migrate`` on files with Windows' names and line ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.launched import finished

from dsadapter.migration.rewriting.files import replace_file

COMMAND = [sys.executable, "-m", "dsadapter"]
TWICE = "import sys\r\nfrom twisted.internet import reactor\r\n" + "".join(
    f"reactor.listenTCP(8080, factory, interface='{host}')\r\n" for host in ("0.0.0.0", "::")
)


@pytest.fixture
def server(tmp_path: Path) -> Path:
    folder = tmp_path / "a server"
    folder.mkdir()
    path = folder / "server.py"
    path.write_bytes(TWICE.encode())
    return path


def scanned(*words: str) -> subprocess.CompletedProcess[str]:
    return finished([*COMMAND, "scan", *words])


def test_a_scan_names_the_file_and_the_line(server: Path) -> None:
    done = scanned(str(server.parent), "--format=json")
    assert done.returncode == 1, done.stderr
    [first, *_] = json.loads(done.stdout)["findings"]
    assert (Path(first["path"]), first["line"]) == (server, 3)
    assert f"{server}:3" in scanned(str(server)).stdout


def test_a_file_that_is_not_there() -> None:
    done = scanned(r"C:\nowhere\server.py")
    assert done.returncode == 2
    assert "there is no file or folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_migrating_rewrites_it_or_says_what_is_not_installed(server: Path) -> None:
    done = finished([*COMMAND, "migrate", "--write", str(server)])
    if "pip install dsadapter[migrate]" in done.stderr:
        assert (done.returncode, server.read_bytes()) == (2, TWICE.encode())
        return
    rewritten = server.read_bytes()
    assert b'"dualstack:8080"' in rewritten
    assert rewritten.count(b"\n") == rewritten.count(b"\r\n")


def test_a_file_is_replaced_in_one_step(server: Path) -> None:
    """What ``migrate --write`` does with each."""
    replace_file(server, b"new\r\n")
    assert server.read_bytes() == b"new\r\n"
    assert [each.name for each in server.parent.iterdir()] == ["server.py"]
