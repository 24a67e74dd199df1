"""``dsadapter run`` beside other programs that get into every Python process, in both orders; and
its table at both ends of the releases that it names."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from support.builds import CHECKOUT, Distributions
from support.environments import Environment, clean_environment, create_environment
from support.launched import finished
from support.versions import PYTHON

from dsadapter.launcher.table import GROUPS

AGENTS = {
    "coverage": ["coverage", "run"],
    "ddtrace": ["ddtrace-run", "python"],
    "newrelic": ["newrelic-admin", "run-program", "python"],
    "opentelemetry": ["opentelemetry-instrument", "python"],
}
PACKAGES = ("coverage", "ddtrace", "newrelic", "opentelemetry-distro")
# Nothing that they do by themselves.
QUIET = {
    "DD_TRACE_ENABLED": "false",
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    "NEW_RELIC_ENABLED": "false",
    "OTEL_SDK_DISABLED": "true",
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
}
SERVE = """
import os, socket, sys
server = socket.socket(socket.AF_INET6)
server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
server.bind(("::", 0))
server.listen()
client = socket.create_connection(("127.0.0.1", server.getsockname()[1]))
agents = {"coverage", "ddtrace", "newrelic", "opentelemetry"}
print(server.accept()[1][0], *sorted(agents & {name.partition(".")[0] for name in sys.modules}))
"""
CHECKER = CHECKOUT / "tests" / "system" / "programs" / "table_checker.py"
FOREIGN = [group for group in GROUPS if group.tested is not None]


@pytest.fixture(scope="module")
def agents(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = create_environment(tmp_path_factory.mktemp("agents") / "environment", "uv")
    made.install(distributions.wheel, *PACKAGES)
    return made


@pytest.mark.parametrize("order", ["outside", "inside"])
@pytest.mark.parametrize("agent", AGENTS)
def test_an_agent_and_the_launcher_are_both_there(
    agents: Environment, tmp_path: Path, agent: str, order: str
) -> None:
    script = tmp_path / "serve.py"
    script.write_text(SERVE)
    folder = str(agents.path / "bin")
    run = ["dsadapter", "run", "--"]
    name, *rest = AGENTS[agent]
    if order == "outside":
        command = [*run, name, *rest, str(script)]
    elif agent == "coverage":
        command = [name, *rest, "-m", *run, "python", str(script)]
    else:
        command = [name, *rest[:-1], *run, "python", str(script)]
    env = clean_environment(PATH=f"{folder}:/usr/bin:/bin", **QUIET)
    done = finished([f"{folder}/{command[0]}", *command[1:]], env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    peer, *found = done.stdout.split()
    assert peer == "127.0.0.1", done.stderr
    if agent != "coverage" or order == "outside":
        # newrelic imports itself where it has something to report to.
        assert found == ([agent] if agent != "newrelic" else [])
    assert "is not covered" not in done.stderr


def test_a_child_with_the_agents_folder_first_in_an_environment_of_its_own_is_said(
    agents: Environment, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("")
    source = (
        "import os, subprocess, sys\n"
        f"path = {str(tmp_path)!r} + os.pathsep + os.environ['PYTHONPATH']\n"
        "subprocess.run([sys.executable, '-c', ''], env={**os.environ, 'PYTHONPATH': path})\n"
    )
    done = finished([agents.program("dsadapter"), "run", "--", "-c", source])
    assert f"{tmp_path} is before dsadapter's in PYTHONPATH" in done.stderr


@pytest.fixture(scope="module", params=["oldest", "newest"])
def framework_environment(
    request: pytest.FixtureRequest,
    distributions: Distributions,
    tmp_path_factory: pytest.TempPathFactory,
) -> Environment:
    if request.param == "oldest" and sys.version_info >= (3, 13):
        pytest.skip(f"{PYTHON} has no wheels of the oldest releases")
    made = create_environment(tmp_path_factory.mktemp("frameworks") / "environment", "uv")
    wanted = [
        f"{group.name}=={group.tested[0]}.*" if request.param == "oldest" else group.name
        for group in FOREIGN
        if group.tested is not None
    ]
    made.install(distributions.wheel, *wanted)
    return made


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("group", [group.name for group in FOREIGN])
def test_a_group_at_both_ends_of_its_releases(
    framework_environment: Environment, group: str, order: str
) -> None:
    done = finished([str(framework_environment.python), str(CHECKER), group, order])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    if group == "trio" and order == "before":
        assert all("it was imported first" in state for state in found.pop("states"))
    else:
        assert found.pop("states") == ["on", "on"]
    assert found == {"in": True, "twice": True, "named": True, "left": [], "same": True}
