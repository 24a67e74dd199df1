"""What ``docs/doctor.md`` says, and how it is written for people and programs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.builds import CHECKOUT
from support.distributions import build_plugin
from support.environments import clean_environment
from support.examined import run_doctor
from support.namespaces import namespace, needs_root
from support.port_holding import HERE as HOLDING
from support.processes import running

from dsadapter.doctor.whole import ids

PAGE = CHECKOUT / "docs" / "doctor.md"
TEXT = PAGE.read_text(encoding="utf-8")


def block(info: str) -> str:
    found = re.search(rf"^```{info}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def members(heading: str) -> set[str]:
    table = TEXT.split(f"| {heading} |")[1].split("\n\n")[0]
    return set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))


def without_what_differs(text: str) -> str:
    """Without versions, places, numbers of processes, and the widths that follow from them."""
    text = re.sub(r"(CPython \S+), .*", r"\1, PYTHON", text)
    text = re.sub(r"\d+(\.\d+)+(\w*)", "VERSION", text.replace("127.0.0.1", "LOOPBACK"))
    text = text.replace("VERSION:", "0.0.0.0:")
    text = re.sub(r"(pid|kill) \d+", r"\1 PID", text)
    return re.sub(r"[ ]+", " ", text)


@needs_root
def test_the_sample() -> None:
    with namespace() as place:
        with running(Path(HOLDING), "tcp 0.0.0.0", "8080", prefix=place.prefix) as server:
            server.event()
            done = run_doctor("8080", prefix=place.prefix)
        assert done.returncode == 1
        assert without_what_differs(done.stdout) == without_what_differs(block("text"))


def test_every_check_is_listed() -> None:
    table = TEXT.split("| Id |")[1].split("\n\n")[0]
    listed = [
        name
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", row)
    ]
    assert sorted(listed) == sorted(ids())


def test_json_has_the_members_that_are_documented() -> None:
    done = run_doctor("--json", "--only=socket,port.tcp", "8080", "53/udp", "--", "python", "-V")
    said = json.loads(done.stdout)
    assert said.keys() == members("Member")
    assert said["ports"] == [{"port": 8080, "protocol": None}, {"port": 53, "protocol": "udp"}]
    assert (said["format"], said["program"]) == (1, ["python", "-V"])
    for row in said["rows"]:
        assert row.keys() == members("Member of a row")
        assert row["mark"] in ("ok", "advice", "problem")
        for name in ("remedy", "detail"):
            assert all(isinstance(line, str) for line in row[name])
    assert done.stdout.isascii()


def test_the_plugin_of_the_page(tmp_path: Path) -> None:
    wheel = build_plugin(tmp_path, "tls", {"tls.py": block("python")}, {"tls": "tls"})
    folder = tmp_path / "installed"
    install = ["uv", "pip", "install", "-q", "--no-deps", "--target", str(folder), str(wheel)]
    subprocess.run([sys.executable, "-m", *install], check=True, timeout=120)
    done = run_doctor("--only=plugin", env=clean_environment(PYTHONPATH=str(folder)))
    assert "make-certificate /etc/ssl/server.pem" in done.stdout
    assert "tls: certificate" in done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding_will_do(encoding: str) -> None:
    variables = clean_environment(PYTHONIOENCODING=encoding, LC_ALL="C", PYTHONUTF8="0")
    done = run_doctor("--only=socket,program", "--", "no-\u00fc-program", env=variables)
    assert done.returncode == 1
    assert "there is no program" in done.stdout


def test_colors_are_for_terminals_alone() -> None:
    command = f"{sys.executable} -m dsadapter doctor --only=socket"
    terminal = ["script", "-qec", command, "/dev/null"]
    shown = subprocess.run(
        terminal, capture_output=True, text=True, check=True, env=clean_environment(TERM="xterm")
    ).stdout
    assert "\x1b[" in shown
    plain = subprocess.run(
        terminal, capture_output=True, text=True, check=True, env=clean_environment(NO_COLOR="1")
    ).stdout
    assert "\x1b[" not in plain
    assert "\x1b[" not in run_doctor("--only=socket").stdout
    assert [line.split() for line in plain.splitlines()] == [
        line.split() for line in re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines()
    ]
