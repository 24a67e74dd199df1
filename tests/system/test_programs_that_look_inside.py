"""Programs that read what is of no interface, or call what takes no plugin: all in one environment,
each as its operator runs it. The table of ``docs/twisted.md`` says what came of them.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.builds import Distributions
from support.certificates import Files
from support.environments import Environment, clean_environment, create_environment
from support.processes import PATIENCE, running_command
from support.programs import (
    FAMILIES,
    LOOPBACK,
    Family,
    free_port,
    leaks,
    listening_sockets,
    serving,
    until,
    until_listening,
    until_served,
)
from support.versions import HAS_CGI, runs_tahoe

SPIDER = Path(__file__).parent / "programs" / "scrapy_spider.py"
PROGRAMS = ["scrapy", "magic-wormhole-transit-relay", "buildbot", *["tahoe-lafs"] * HAS_CGI]


@pytest.fixture(scope="module")
def environment(
    distributions: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    made = create_environment(tmp_path_factory.mktemp("programs") / "environment", "uv")
    made.install(distributions.wheel, *PROGRAMS)
    return made


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    return done.stdout


def curl(family: Family, url: str, *options: str) -> str:
    command = ["curl", family, "-sS", "--max-time", "5", *options, url]
    return subprocess.run(command, env=clean_environment(), capture_output=True, text=True).stdout


def test_scrapy(environment: Environment, tmp_path: Path) -> None:
    files = Files.written_to(tmp_path / "tls")
    twist = environment.program("twist")

    def web(port: int, options: str = "") -> list[str]:
        return [twist, "web", "--listen", f"dualstack:{port}{options}"]

    over_tls = f":privateKey={files.key}:certKey={files.certificate}"
    with (
        serving(web, cwd=tmp_path) as (plain, port),
        serving(lambda port: web(port, over_tls), cwd=tmp_path) as (secure, secure_port),
    ):
        urls = {
            f"http://127.0.0.1:{port}/": "127.0.0.1",
            f"http://[::1]:{port}/": "::1",
            f"http://[::ffff:127.0.0.1]:{port}/mapped": "127.0.0.1",
            f"https://127.0.0.1:{secure_port}/": None,
        }
        said = run(environment.python, SPIDER, *urls, folder=tmp_path)
        for url, address in urls.items():
            assert f"fetched {url} " in said, said
            assert address is None or f" {address}\n" in said
        for address in LOOPBACK.values():
            until_served(address, plain)
        until_served("127.0.0.1", secure)
        assert leaks(plain.stop() + secure.stop()) == []


def test_a_transit_relay(environment: Environment, tmp_path: Path) -> None:
    websocket = free_port()
    options = ["-n", "--pidfile=", "-l", "-", "transitrelay"]

    def command(port: int) -> list[str]:
        ports = ["--port", f"dualstack:{port}", "--websocket", f"dualstack:{websocket}"]
        return [environment.program("twistd"), *options, *ports]

    upgrade = [
        *("-i", "-N", "--http1.1", "-H", "Connection: Upgrade", "-H", "Upgrade: websocket"),
        *("-H", "Sec-WebSocket-Version: 13", "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    with serving(command, cwd=tmp_path) as (server, port):
        until_listening(websocket, server)
        server.wait_for_log(f"Using WebSocket URL 'ws://localhost:{websocket}/'")
        for family in FAMILIES:
            assert "bad handshake" in curl(family, f"http://localhost:{port}/", "--http0.9")
            shown = curl(family, f"http://localhost:{websocket}/", *upgrade, "--max-time", "0.5")
            assert "Sec-WebSocket-Accept: " in shown
        assert leaks(server.stop()) == []


@runs_tahoe
def test_tahoe(environment: Environment, tmp_path: Path) -> None:
    tahoe, node = environment.program("tahoe"), tmp_path / "node"
    files = Files.written_to(tmp_path / "tls")
    port = free_port()
    options = f"privateKey={files.key}:certKey={files.certificate}"
    run(tahoe, "create-client", f"--webport=dualstack:{port}:{options}", node, folder=tmp_path)
    with running_command([tahoe, "run", str(node)], env=clean_environment()) as server:
        until((node / "node.url").exists, server)
        url = (node / "node.url").read_text().strip()
        assert url == f"https://127.0.0.1:{port}/"
        for family in FAMILIES:
            assert "Tahoe-LAFS" in curl(family, f"https://localhost:{port}/", "-k")
        assert len(listening_sockets(port)) == 1
        assert leaks(server.stop()) == []


MASTER = """
from buildbot.plugins import schedulers, util, worker
BuildmasterConfig = {
    "workers": [worker.Worker("worker", "secret")],
    "protocols": {"pb": {"port": "dualstack:PORT"}},
    "schedulers": [schedulers.ForceScheduler(name="force", builderNames=["builder"])],
    "builders": [
        util.BuilderConfig(name="builder", workernames=["worker"], factory=util.BuildFactory())
    ],
    "buildbotNetUsageData": None,
}
"""


def test_a_port_for_buildbots_workers(environment: Environment, tmp_path: Path) -> None:
    buildbot, master = environment.program("buildbot"), tmp_path / "master"
    run(buildbot, "create-master", master, folder=tmp_path)
    (master / "master.cfg").write_text(MASTER.replace("PORT", str(free_port())))
    said = run(buildbot, "start", "--nodaemon", master, folder=tmp_path)
    said += (master / "twistd.log").read_text()
    assert "strports.listen takes no endpoint plugin such as 'dualstack:'" in said
