"""Plugins as once shipped: they run unchanged, or are told in one message what to change."""

from __future__ import annotations

import importlib.util
import socket
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry
from support.listeners import RecordingFactory, stop
from support.reactors import Reactor
from twisted.internet.error import ConnectError

from dsadapter.frameworks.twisted import DualStackClientEndpoint, DualStackServerEndpoint
from dsadapter.plugin import active_hooks
from dsadapter.records import Connection

FROZEN = Path(__file__).parent / "frozen"
FAMILIES = {"127.0.0.1": "ipv4", "::1": "ipv6"}

pytest_plugins = ["dsadapter.testing.pytest_plugin"]
Register = Callable[[Any, str], Any]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    """Where a Prometheus plugin that is loaded keeps its metrics."""
    made = CollectorRegistry()
    monkeypatch.setattr(prometheus_client, "REGISTRY", made)
    return made


@pytest.fixture
def shipped(register_plugin: Register, registry: CollectorRegistry) -> Callable[[str], Path]:
    """Registers what a folder's entry point names, as an installation would."""

    def register(folder: str) -> Path:
        project = tomllib.loads((FROZEN / folder / "pyproject.toml").read_text())["project"]
        [(name, value)] = project["entry-points"]["dsadapter"].items()
        module_name, _, attribute = value.partition(":")
        path = FROZEN / folder / f"{module_name}.py"
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        register_plugin(getattr(module, attribute) if attribute else module, name)
        return path

    return register


def serve_both_families(reactor: Reactor) -> None:
    """A listener that opens, two connections that come and go, and one that nobody wants."""
    factory = RecordingFactory()
    port = reactor.result_of(DualStackServerEndpoint(reactor, 0).listen(factory))
    for host in FAMILIES:
        with socket.create_connection((host, port.getHost().port)):
            reactor.until(lambda: len(factory.made) > len(factory.lost))
        reactor.until(lambda: len(factory.made) == len(factory.lost))
    factory.buildProtocol = lambda addr: None  # type: ignore[method-assign]
    with socket.create_connection(("127.0.0.1", port.getHost().port)) as refused:
        refused.setblocking(False)
        reactor.until(lambda: closed(refused))
    stop(reactor, port)


def closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


def connect_out(times: int) -> None:
    """What a client endpoint tells."""
    for number in range(times):
        peer, local = ("192.0.2.1", 80), ("192.0.2.2", 1024 + number)
        connection = Connection("twisted", None, peer, local, "outbound", True)
        observers = active_hooks().connections
        assert observers is not None
        assert observers.made is not None
        assert observers.lost is not None
        observers.made(connection)
        observers.lost(connection)


def test_metrics_count_as_before_and_one_message_names_the_line_to_change(
    reactor: Reactor,
    shipped: Callable[[str], Path],
    registry: CollectorRegistry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = shipped("dsadapter-prometheus")
    serve_both_families(reactor)
    connect_out(100)
    serve_both_families(reactor)
    connect_out(100)
    where = {"framework": "twisted", "listener": "[::]:0"}
    for family in FAMILIES.values():
        labels = {**where, "family": family}
        assert registry.get_sample_value("dsadapter_connections_total", labels) == 2
        assert registry.get_sample_value("dsadapter_connections_open", labels) == 0
    assert registry.get_sample_value("dsadapter_translations_total", where) == 2
    [message] = caplog.messages
    [line] = [
        number
        for number, text in enumerate(path.read_text().splitlines(), 1)
        if "connection.listener.policy" in text
    ]
    assert message.startswith(
        f"plugin 'prometheus' is told of accepted connections only, until {path}, line {line} is "
        f"changed ('return connection.framework, str(connection.listener.policy), "
        f"connection.family'): "
    )


def test_the_template_reports_as_before(
    reactor: Reactor,
    shipped: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    shipped("plugin_minimal")
    serve_both_families(reactor)
    connect_out(1)
    lines = capsys.readouterr().err.splitlines()
    served = [f"{host} has {what}" for host in FAMILIES for what in ("come", "gone")]
    connected = ["192.0.2.1 has come", "192.0.2.1 has gone"]
    expected = ["twisted listens, dual-stack", *served, *connected]
    assert lines == [f"dsadapter-minimal: {line}" for line in expected]
    assert caplog.messages == []


def test_the_egress_filter_refuses_as_before(
    reactor: Reactor, shipped: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    shipped("plugin_egress")
    serve_both_families(reactor)
    for host in FAMILIES:
        connecting = DualStackClientEndpoint(reactor, host, 9).connect(RecordingFactory())
        with pytest.raises(ConnectError, match=f"refused: {host} is not a public address"):
            reactor.result_of(connecting)
    assert caplog.messages == []
