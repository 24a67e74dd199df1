"""What a port that somebody holds looks like in a log: one cause, not a chain of tracebacks."""

from __future__ import annotations

import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.datagrams import Recorder
from support.environments import clean_environment
from support.foreign_reactor import ForeignReactor
from support.listeners import RecordingFactory
from support.reactors import Reactor
from support.windows import own_udp_address
from twisted.internet.error import CannotListenError

from dsadapter.frameworks.twisted import DualStackDatagramEndpoint, DualStackServerEndpoint

TRACEBACK = "Traceback (most recent call last)"
INTERFACES = ["::", "localhost", "127.0.0.1"]


@pytest.fixture(params=[socket.SOCK_STREAM])
def held(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port number of 127.0.0.1 that is taken."""
    with socket.socket(socket.AF_INET, request.param) as holder:
        holder.bind(("127.0.0.1", 0))
        if request.param == socket.SOCK_STREAM:
            holder.listen()
        yield holder.getsockname()[1]


def has_one_cause(error: BaseException, port: int) -> None:
    printed = "".join(traceback.format_exception(error))
    assert f"127.0.0.1:{port} is held by another socket" in printed
    assert printed.count(TRACEBACK) <= 2


def refused(reactor: Any, endpoint: Any, what: Any, port: int) -> None:
    with pytest.raises(CannotListenError) as caught:
        reactor.result_of(endpoint.listen(what))
    has_one_cause(caught.value, port)


@pytest.mark.parametrize("interface", INTERFACES)
def test_a_stream_port(reactor: Reactor, held: int, interface: str) -> None:
    refused(
        reactor,
        DualStackServerEndpoint(reactor, held, interface=interface),
        RecordingFactory(),
        held,
    )


@pytest.mark.parametrize("interface", INTERFACES)
def test_on_a_reactor_with_its_own_ports(held: int, interface: str) -> None:
    reactor = ForeignReactor()
    try:
        endpoint = DualStackServerEndpoint(reactor, held, interface=interface)
        refused(reactor, endpoint, RecordingFactory(), held)
    finally:
        reactor.close()


@pytest.mark.parametrize("held", [socket.SOCK_DGRAM], indirect=True)
@pytest.mark.parametrize("interface", [pytest.param("::", marks=own_udp_address), "127.0.0.1"])
def test_a_datagram_port(reactor: Reactor, held: int, interface: str) -> None:
    refused(
        reactor, DualStackDatagramEndpoint(reactor, held, interface=interface), Recorder(), held
    )


@pytest.mark.parametrize(
    "program",
    [
        [
            "-c",
            "from twisted.application.twist._twist import Twist; Twist.main()",
            "--log-format=text",
        ],
        pytest.param(
            ["-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile="],
            marks=pytest.mark.not_on_windows("has another twistd, which writes no file"),
        ),
    ],
    ids=["twist", "twistd"],
)
def test_a_web_server(program: list[str], held: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, *program, "web", "--listen", f"dualstack:{held}"],
        cwd=tmp_path,
        env=clean_environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    printed = done.stdout + done.stderr
    assert f"127.0.0.1:{held} is held by another socket" in printed
    assert printed.count(TRACEBACK) <= 2
