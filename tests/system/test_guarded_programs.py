"""The guard on other people's programs: by their own tests, and by clients of both families."""

from __future__ import annotations

import ftplib
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.environments import Environment, clean_environment
from support.namespaces import namespace, needs_root
from support.processes import PATIENCE
from support.programs import FAMILIES, LOOPBACK, curl, leaks, serving, until

# The environment has a plugin for other tests.
ALONE = {"DSADAPTER_BLOCK_PLUGINS": "told"}
PLAIN = Path(__file__).parent / "programs" / "plain"


def guarded(environment: Environment, report: Path, *words: str) -> list[str]:
    """A command line under the guard."""
    command = [environment.program("dsadapter"), "run", "--guard=log", f"--guard-report={report}"]
    return [*command, "--", *words]


def reported(report: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    """What was seen last of each line: by kind, call, file and function."""
    rows = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    return {
        (row["mapped"], row["call"], Path(row["file"]).name, row["function"]): row for row in rows
    }


UNITTESTS = """
import atexit, sys
from dsadapter import guard

atexit.register(lambda: print(guard.leaks(), guard.is_installed()))
guard.install("raise")
from tornado.test.runtests import main

main()
"""


@needs_root
def test_tornados_own_tests_pass_and_hand_over_nothing(servers: Environment) -> None:
    """It opens two sockets itself, IPv6's for IPv6 alone."""
    modules = [f"tornado.test.{name}_test" for name in ("netutil", "tcpserver", "tcpclient")]
    # Some resolve names.
    with namespace() as alone:
        done = subprocess.run(
            [*alone.prefix, str(servers.python), "-c", UNITTESTS, *modules],
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert int(re.findall(r"Ran (\d+) tests", done.stderr)[0]) > 40
    assert done.stdout.splitlines()[-1] == "[] True"


def test_pyftpdlib_names_each_of_its_lines_where_a_mapped_name_would_arrive(
    servers: Environment, tmp_path: Path
) -> None:
    """Some have code that takes the prefix away, and some have not: who is refused, or logged."""
    report = tmp_path / "report.json"
    (tmp_path / "file").write_text("hello", encoding="utf-8")
    words = f"-m pyftpdlib -i :: -d {tmp_path} -p".split()
    with serving(
        lambda port: guarded(servers, report, str(servers.python), *words, str(port)),
        env=clean_environment(**ALONE),
    ) as (server, port):
        for family in FAMILIES:
            with ftplib.FTP(timeout=PATIENCE) as client:
                client.connect(LOOPBACK[family], port)
                client.login()
                assert "file" in client.nlst()
        server.process.send_signal(signal.SIGINT)
        server.process.wait(PATIENCE)
        log = server.log()
    assert leaks(log.partition("MAPPED ")[0]) == []
    found = reported(report)
    # Where asyncore is not Python's any more, it accepts in a package that is installed.
    [accepting] = [key for key in found if key[1] == "accept"]
    assert sys.version_info >= (3, 12) or accepting[2:] == ("ioloop.py", "Acceptor.handle_accept")
    assert set(found) >= {
        ("arrived", "getpeername", "control.py", "FTPHandler.__init__"),
        ("arrived", "getsockname", "dispatchers.py", "PassiveDTP.__init__"),
    }
    assert {key[0] for key in found} == {"arrived"}
    for row in found.values():
        assert (row["count"], row["address"]) == (1, "::ffff:127.0.0.1")
        assert f"{row['file']}:{row['line']}, in {row['function']}" in log


@pytest.mark.parametrize("worker", ["gthread", "gevent"])
def test_each_of_gunicorns_workers_tells_at_its_end(
    worker: str, servers: Environment, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    settings = tmp_path / "settings.py"
    settings.write_text("def post_worker_init(worker): worker.log.info('it serves')\n")
    with serving(
        lambda port: guarded(
            servers,
            report,
            servers.program("gunicorn"),
            *(
                "-c",
                str(settings),
                "-b",
                f"[::]:{port}",
                "--graceful-timeout",
                "10",
                "-w",
                "2",
                "-k",
                worker,
            ),
            "application:wsgi",
        ),
        cwd=PLAIN,
        env=clean_environment(PYTHONDONTWRITEBYTECODE="1", **ALONE),
    ) as (server, port):
        # One that has not begun yet would end without a word.
        until(lambda: server.log().count("it serves") == 2, server)
        for _ in range(4):
            for family in FAMILIES:
                assert f"hello {LOOPBACK[family]}" in curl(family, port, "-H", "Connection: close")
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(PATIENCE)
        log = server.log()
    # Itself, and two workers, of which at least one has accepted.
    assert len(set(re.findall(r"dsadapter run: process (\d+): ", log))) == 3
    counts = re.findall(r"dsadapter run: arrived +accept +(\d+) ", log)
    assert sum(map(int, counts)) == 4
    file = {"gthread": "gthread.py", "gevent": "server.py"}[worker]
    assert {key[:3] for key in reported(report)} == {("arrived", "accept", file)}
