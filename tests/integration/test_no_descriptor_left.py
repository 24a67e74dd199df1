"""What a process is told that has no descriptor left."""

from __future__ import annotations

import gc
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from support.datagrams import Recorder
from support.listeners import RecordingFactory
from support.reactors import Reactor, open_descriptors

from dsadapter.frameworks.twisted import (
    DualStackClientEndpoint,
    DualStackDatagramEndpoint,
    DualStackServerEndpoint,
)

pytestmark = pytest.mark.not_on_windows("limits descriptors by setrlimit")

if sys.platform != "win32":
    import resource


@pytest.fixture
def full(reactor: Reactor) -> Iterator[None]:
    reactor.resolve_names()
    # What is collected later would leave descriptors.
    gc.collect()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (1 + max(map(int, open_descriptors())), hard))
    try:
        while True:
            held.append(socket.socket())
    except OSError:
        pass
    yield
    for each in held:
        each.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


USES: dict[str, Any] = {
    "listening": lambda reactor: DualStackServerEndpoint(reactor, 0).listen(RecordingFactory()),
    "pair": lambda reactor: DualStackServerEndpoint(reactor, 0, interface="localhost").listen(
        RecordingFactory()
    ),
    "datagrams": lambda reactor: DualStackDatagramEndpoint(reactor, 0).listen(Recorder()),
    "a literal": lambda reactor: DualStackClientEndpoint(reactor, "127.0.0.1", 9).connect(
        RecordingFactory()
    ),
    "a name": lambda reactor: DualStackClientEndpoint(reactor, "localhost", 9, timeout=0.5).connect(
        RecordingFactory()
    ),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.usefixtures("full")
def test_it_says_so(reactor: Reactor, use: str) -> None:
    ends: list[Any] = []
    USES[use](reactor).addBoth(ends.append)
    reactor.until(lambda: ends)
    assert "Too many open files" in str(ends[0].value)
