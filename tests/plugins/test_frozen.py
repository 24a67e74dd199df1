"""Plugins as once shipped: they run unchanged, or are told in one message what to change."""

from __future__ import annotations

import importlib.util
import socket
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry
from support.listeners import RecordingFactory, stop
from support.reactors import Reactor
from twisted.internet.error import ConnectError

from dsadapter.frameworks.twisted import DualStackClientEndpoint, DualStackServerEndpoint
from dsadapter.testing import registered

FROZEN = Path(__file__).parent / "frozen"
FAMILIES = {"127.0.0.1": "ipv4", "::1": "ipv6"}


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    """Where a Prometheus plugin that is loaded keeps its metrics."""
    made = CollectorRegistry()
    monkeypatch.setattr(prometheus_client, "REGISTRY", made)
    return made


@pytest.fixture
def shipped(registry: CollectorRegistry) -> Iterator[Callable[[str], Path]]:
    """Registers what a folder's entry point names, as an installation would."""
    stack = ExitStack()

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
        plugin = getattr(module, attribute) if attribute else module
        stack.enter_context(registered(plugin, name))
        return path

    with stack:
        yield register


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


def connect_out(reactor: Reactor, times: int) -> None:
    """Connections that this program makes, come and gone."""
    factory = RecordingFactory()
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = DualStackClientEndpoint(reactor, *server.getsockname())
        for _ in range(times):
            reactor.result_of(endpoint.connect(factory)).transport.abortConnection()
    reactor.until(lambda: len(factory.lost) == times)


def test_metrics_count_as_before_and_one_message_names_the_line_to_change(
    reactor: Reactor,
    shipped: Callable[[str], Path],
    registry: CollectorRegistry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = shipped("dsadapter-prometheus")
    serve_both_families(reactor)
    connect_out(reactor, 5)
    serve_both_families(reactor)
    connect_out(reactor, 5)
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
    connect_out(reactor, 1)
    lines = capsys.readouterr().err.splitlines()
    served = [f"{host} has {what}" for host in FAMILIES for what in ("come", "gone")]
    connected = ["127.0.0.1 has come", "127.0.0.1 has gone"]
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
