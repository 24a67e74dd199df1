"""What the log says of a port that has opened: what is served, on which port."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Files, older_pyopenssl_api
from support.datagrams import Recorder
from support.foreign_reactor import ForeignReactor
from support.listeners import RecordingFactory, stop
from support.machines import NO_DUAL_STACK, NO_IPV4, NO_IPV6, NO_OPTION, WITNESS
from support.namespaces import needs_root
from support.processes import Server, running
from support.reactors import Reactor
from support.seccomp import without
from twisted.internet.endpoints import serverFromString
from twisted.logger import formatEvent, globalLogPublisher

from dsadapter.frameworks.twisted import DualStackDatagramEndpoint, DualStackServerEndpoint

SERVED = [
    ("::", "[::]:{port} for IPv4 and IPv6"),
    ("localhost", "127.0.0.1:{port} and [::1]:{port}"),
    ("127.0.0.1", "127.0.0.1:{port}"),
    ("::1", "[::1]:{port}"),
    ("0.0.0.0", "0.0.0.0:{port}"),
]
STREAMS = pytest.mark.parametrize(("interface", "served"), SERVED)
DATAGRAMS = pytest.mark.parametrize(
    ("interface", "served"), [each for each in SERVED if each[0] != "localhost"]
)


@contextlib.contextmanager
def logged() -> Iterator[list[str]]:
    """What reaches Twisted's log."""
    lines: list[str] = []

    def observe(event: Any) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(observe)


def says(reactor: Any, listening: Any, served: str) -> None:
    with logged() as lines:
        port = reactor.result_of(listening())
        number = port.getHost().port
        stop(reactor, port)
    assert len([line for line in lines if served.format(port=number) in line]) == 1


@STREAMS
def test_in_python(reactor: Reactor, interface: str, served: str) -> None:
    endpoint = DualStackServerEndpoint(reactor, 0, interface=interface)
    says(reactor, lambda: endpoint.listen(RecordingFactory()), served)


@STREAMS
def test_by_string(reactor: Reactor, interface: str, served: str) -> None:
    escaped = interface.replace(":", r"\:")
    endpoint = serverFromString(reactor, f"dualstack:0:interface={escaped}")
    says(reactor, lambda: endpoint.listen(RecordingFactory()), served)


@STREAMS
def test_on_a_reactor_with_its_own_ports(interface: str, served: str) -> None:
    reactor = ForeignReactor()
    try:
        endpoint = DualStackServerEndpoint(reactor, 0, interface=interface)
        says(reactor, lambda: endpoint.listen(RecordingFactory()), served)
    finally:
        reactor.close()


@older_pyopenssl_api
@STREAMS
def test_with_TLS(reactor: Reactor, tmp_path: Path, interface: str, served: str) -> None:
    files = Files.written_to(tmp_path)
    escaped = interface.replace(":", r"\:")
    description = f"dualstack:0:interface={escaped}:" + files.filled(
        "privateKey={key}:certKey={certificate}"
    )
    endpoint = serverFromString(reactor, description)
    says(reactor, lambda: endpoint.listen(RecordingFactory()), served)


@DATAGRAMS
def test_for_datagrams(reactor: Reactor, interface: str, served: str) -> None:
    endpoint = DualStackDatagramEndpoint(reactor, 0, interface=interface)
    says(reactor, lambda: endpoint.listen(Recorder()), served)


def start_line(server: Server) -> tuple[int, str]:
    """The port, and everything that was logged before it was announced."""
    lines = []
    while "port" not in (event := server.event()):
        lines.append(event.get("log", ""))
    return event["port"], "\n".join(lines)


@pytest.mark.parametrize("reactor_name", ["epoll", "foreign"])
@pytest.mark.parametrize(
    ("options", "denial", "address", "alone"),
    [
        ("", NO_IPV6, "0.0.0.0", "IPv4"),
        ("", NO_OPTION, "0.0.0.0", "IPv4"),
        (":interface=localhost", NO_IPV6, "127.0.0.1", "IPv4"),
        (":interface=localhost", NO_IPV4, "[::1]", "IPv6"),
    ],
)
@pytest.mark.not_on_windows("seccomp is Linux's")
def test_a_family_that_is_served_alone_is_named_with_the_reason(
    reactor_name: str, options: str, denial: str, address: str, alone: str
) -> None:
    description = f"dualstack:0{options}"
    with running(WITNESS, reactor_name, description, "0", prefix=without(denial)) as server:
        number, log = start_line(server)
    [line] = [line for line in log.splitlines() if f"{alone} only, because " in line]
    assert f"{address}:{number}" in line


@needs_root
def test_a_pair_in_place_of_one_socket_is_named_with_its_port() -> None:
    with running(WITNESS, "epoll", "dualstack:0", "0", prefix=without(NO_DUAL_STACK)) as server:
        number, log = start_line(server)
    assert f"0.0.0.0:{number} and [::]:{number}" in log
