"""``dsadapter doctor``: what it takes, how it says it, and its exit status."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.environments import clean_environment
from support.examined import examined, run_doctor
from support.processes import PATIENCE, running_command
from support.programs import until

JUNK = ["http", "99999", "0", "8080/", "53/sctp", "\uff12", "9" * 5000, "", "8080,8081", "::"]


@pytest.mark.parametrize("junk", JUNK)
def test_what_is_no_port_is_refused_with_what_to_write(junk: str) -> None:
    done = run_doctor(junk)
    assert (done.returncode, done.stdout) == (2, "")
    assert "as in 8080 or 53/udp" in done.stderr or "write 8080/udp" in done.stderr
    assert len(done.stderr) < 1000


def test_a_fine_machine_is_fine() -> None:
    report = examined("8080")
    assert (report.status, report.marks()) == (0, {})
    assert report.row("port.tcp")["fact"] == (
        "'dualstack:8080' would listen: one socket serves IPv4 and IPv6"
    )


def test_ports_are_asked_about_some_at_a_time() -> None:
    done = run_doctor(*map(str, range(1, 22)))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("dsadapter doctor: 21 ports are too many; name at most 20 at a time\n")
    report = examined("--only=port.tcp", *map(str, range(2001, 2021)))
    assert len(report.rows) == 20


def shell(line: str) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} -m dsadapter doctor --only=socket,port.tcp 8080 {line}"
    return subprocess.run(
        ["sh", "-c", command],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_streams_that_are_closed_or_full() -> None:
    assert shell("").stdout.endswith("no problems, no advice, 4 rows\n")
    assert shell("<&- 2>&-").stdout == shell("").stdout
    for closed in (">&-", "<&- >&-", "<&- >&- 2>&-", ">&- 2>&-"):
        done = shell(closed)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = shell(">/dev/full")
    assert (done.returncode, done.stderr) == (
        2,
        "dsadapter doctor: the output can't be written: No space left on device\n",
    )
    assert shell("--json >/dev/full").returncode == 2
    assert shell("| true").stderr == ""


def test_an_interrupt_ends_it_and_its_checks(tmp_path: Path) -> None:
    """While a check hangs: here one that starts a program that is asked about."""
    note = tmp_path / "note"
    (tmp_path / "sitecustomize.py").write_text(
        f"""
import os, sys, time
if "-c" in sys.orig_argv and "Watcher" in sys.orig_argv[-1]:
    with open({str(note)!r}, "w") as file:
        file.write(str(os.getpid()) + "\\n")
    time.sleep(600)
"""
    )
    command = [sys.executable, "-m", "dsadapter", "doctor", "--only=program", "--", "twist"]
    variables = clean_environment(PYTHONPATH=str(tmp_path))
    with running_command(command, env=variables) as doctor:
        until(lambda: note.exists() and note.read_text().endswith("\n"), doctor)
        doctor.process.send_signal(signal.SIGINT)
        assert doctor.process.wait(PATIENCE) == 130
        assert "Traceback" not in doctor.stop()
    hanging = Path("/proc", note.read_text().strip(), "stat")
    deadline = time.monotonic() + PATIENCE
    while hanging.exists() and hanging.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.02)


@pytest.mark.parametrize("words", [("-x",), ("--json", "--nope"), ("--only=",), ("--program",)])
def test_misspelled_options_are_errors_of_the_command(words: tuple[str, ...]) -> None:
    done = run_doctor(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: dsadapter doctor ")


@pytest.mark.parametrize(
    ("words", "status", "mark", "what"),
    [
        (["twist", "web"], 0, "ok", "it would be covered"),
        ([sys.executable, "-I", "-m", "x"], 1, "problem", "-I isolates Python from PYTHONPATH"),
        (["no-such-program"], 1, "problem", "there is no program 'no-such-program'"),
        (["-m", "granian", "app:app"], 1, "problem", "granian it accepts connections in Rust"),
        (["sleep", "1"], 0, "advice", "sleep is no Python program"),
    ],
)
def test_the_chance_of_a_program(words: list[str], status: int, mark: str, what: str) -> None:
    report = examined("--only=program", "--", *words)
    [row] = [row for row in report.rows if row["subject"] not in ("trio", "twisted", "uvloop")]
    assert (report.status, row["mark"]) == (status, mark)
    assert what in row["fact"]
    same = examined("--only=program", f"--program={shlex.join(words)}")
    assert same == report


def test_what_is_advised_about_a_program_starts_it() -> None:
    see = "import sys; print('Watcher' in str(sys.meta_path))"
    for words in ([sys.executable, "-I", "-c", see], [sys.executable, "-c", see]):
        report = examined("--only=program", "--", *words)
        [command] = report.row("program", "python")["remedy"]
        variables = clean_environment(PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        done = subprocess.run(
            command, shell=True, env=variables, capture_output=True, text=True, check=True
        )
        assert done.stdout == "True\n"
