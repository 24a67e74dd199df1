"""An accept that the system denies for good: a port says so, waits, and serves when it may."""

from __future__ import annotations

import errno
import socket
import time
from typing import Any

import pytest
from support.faults import Faults
from support.listeners import RecordingFactory
from support.namespaces import needs_root
from support.reactors import Reactor
from twisted.python import log

from dsadapter.frameworks.twisted import DualStackServerEndpoint

pytestmark = pytest.mark.not_on_windows("has no seccomp")


@needs_root
@pytest.mark.parametrize("error", ["EPERM", "EACCES", "ENFILE", "ENOMEM"])
def test_it_says_so_once_and_does_not_spin(error: str) -> None:
    faults = Faults("accept4")
    said: list[Any] = []

    def serve() -> int:
        reactor = Reactor()
        factory = RecordingFactory()
        log.addObserver(said.append)
        try:
            port = reactor.result_of(DualStackServerEndpoint(reactor, 0).listen(factory))
            faults.always("accept4", getattr(errno, error))
            start = time.monotonic()
            with socket.create_connection(("127.0.0.1", port.getHost().port)):
                reactor.until(lambda: faults.asked["accept4"])
                asked = faults.asked["accept4"]
                for _ in range(20):
                    reactor.iterate(0.01)
                # One that spins asks in each of these turns, which may take a busy machine seconds.
                times = 1 + int(time.monotonic() - start + 0.1)
                assert faults.asked["accept4"] <= asked * times
                faults.heal()
                reactor.until(lambda: factory.made)
            reactor.result_of(port.stopListening())
            return times
        finally:
            log.removeObserver(said.append)
            reactor.close()

    times = faults.run(serve)
    lines = [log.textFromEventDict(event) for event in said]
    assert 1 <= len([line for line in lines if line and "accepts again in 1 s" in line]) <= times
