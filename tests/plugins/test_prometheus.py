"""``dsadapter-prometheus``, built, installed and scraped over HTTP."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families
from support.builds import Distributions, environment_with
from support.environments import Environment, clean_environment
from support.processes import PATIENCE, Server, running_command
from support.programs import free_port, until

SCRIPTS = Path(__file__).parent / "scripts"
VARIABLE = "DSADAPTER_PROMETHEUS_LISTEN"

Metrics = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def environment(
    distributions: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    return environment_with(
        "plugins/dsadapter-prometheus", distributions, tmp_path_factory.mktemp("prometheus")
    )


@pytest.fixture
def metrics_port() -> int:
    return free_port()


@pytest.fixture
def busy(environment: Environment, metrics_port: int) -> Iterator[tuple[Server, int]]:
    command = [str(environment.python), "-I", "-u", str(SCRIPTS / "busy.py")]
    variables = clean_environment(**{VARIABLE: f"127.0.0.1:{metrics_port}"})
    with running_command(command, env=variables) as server:
        yield server, server.event()["port"]


def scrape(port: int, query: str = "") -> Metrics:
    command = ["curl", "-sSg", "--fail", "--max-time", str(PATIENCE)]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/metrics{query}"],
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(),
        check=True,
    )
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(done.stdout)
        for sample in family.samples
        if sample.name.startswith("dsadapter_") and not sample.name.endswith("_created")
    }


def sample(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"dsadapter_{name}", frozenset({"framework": "twisted", **labels}.items())


def test_a_scrape_shows_what_happened(busy: tuple[Server, int], metrics_port: int) -> None:
    server, port = busy
    where = {"direction": "inbound", "listener": "[::]:0"}
    out = {"direction": "outbound", "listener": ""}
    leaked = frozenset({"operation": "connect", "mode": "an IPv4-only socket"}.items())
    clients = []
    for host in ("127.0.0.1", "::1"):
        clients.append(socket.create_connection((host, port)))
        clients[-1].sendall(b"here")
        assert clients[-1].recv(4) == b"here"
    with socket.create_connection(("127.0.0.1", port)) as refused:
        assert refused.recv(1) == b""
    expected = {
        sample("listeners_open", mode="dual-stack"): 1,
        sample("connections_total", family="ipv4", **where): 1,
        sample("connections_total", family="ipv6", **where): 1,
        sample("connections_open", family="ipv4", **where): 1,
        sample("connections_open", family="ipv6", **where): 1,
        sample("translations_total", **where): 1,
        sample("connections_total", family="ipv4", **out): 1,
        sample("connections_open", family="ipv4", **out): 1,
        sample("translations_total", **out): 1,
        sample("refusals_total", operation="accept", plugin=""): 1,
        sample("refusals_total", operation="listen", plugin="gate"): 1,
        ("dsadapter_leaks_total", leaked): 2,
    }
    one = "dsadapter_connections_open"
    assert scrape(metrics_port, f"?name[]={one}") == {
        key: n for key, n in expected.items() if key[0] == one
    }
    assert scrape(metrics_port) == expected
    for client in clients:
        client.close()
    inbound = {sample("connections_open", family=family, **where) for family in ("ipv4", "ipv6")}
    gone = {key: 0 if key in inbound else n for key, n in expected.items()}
    until(lambda: scrape(metrics_port) == gone, server)


def test_workers_that_share_their_values_show_what_happened(
    environment: Environment, tmp_path: Path
) -> None:
    command = [str(environment.python), "-I", "-u", str(SCRIPTS / "busy.py")]
    variables = clean_environment(PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    labels = {"framework": "twisted", "direction": "inbound", "listener": "[::]:0"}
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(tmp_path))

    def value(name: str, **more: str) -> float | None:
        return registry.get_sample_value(f"dsadapter_{name}", {**labels, **more})

    with running_command(command, env=variables) as server:
        where = ("127.0.0.1", server.event()["port"])
        worker = {"family": "ipv4", "pid": str(server.process.pid)}
        with socket.create_connection(where) as client:
            client.sendall(b"here")
            assert client.recv(4) == b"here"
            assert value("connections_total", family="ipv4") == 1
            assert value("connections_open", **worker) == 1
            assert value("translations_total") == 1
        until(lambda: value("connections_open", **worker) == 0, server)


def test_a_bad_address_is_named_and_the_server_runs(environment: Environment) -> None:
    command = [str(environment.python), "-I", "-u", str(SCRIPTS / "busy.py")]
    with running_command(command, env=clean_environment(**{VARIABLE: "here"})) as server:
        assert server.event()["port"]
        server.wait_for_log("DSADAPTER_PROMETHEUS_LISTEN='here' is no address; write it as")
        log = server.stop()
    assert "plugin 'prometheus' raised ValueError" in log


def test_it_uses_the_public_interface_only(distributions: Distributions) -> None:
    source = distributions.source / "plugins" / "dsadapter-prometheus" / "dsadapter_prometheus.py"
    imported = re.findall(r"^\s*from (dsadapter\S*) import (.*)$", source.read_text(), re.MULTILINE)
    assert imported
    for module, names in imported:
        assert not re.search(r"(^|\W)_", f"{module} {names}")
