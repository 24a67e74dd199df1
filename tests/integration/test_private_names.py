"""A release of Twisted that has given one of its private names another one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "servers" / "renamed.py"
NAMES = ["_accept(", "_BuffersLogs", "_reservedFD", "_preexistingSocket", "_getsockname"]


@pytest.mark.not_on_windows("limits descriptors by setrlimit")
@pytest.mark.parametrize("name", NAMES)
def test_it_serves_and_survives_a_shortage_of_descriptors(name: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2])}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), name, f"_renamed{name}"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    said = json.loads(done.stdout)
    assert set(said["peers"]) == {"127.0.0.1", "::1"}
    # A port that spins says so in each of its 50 turns.
    assert said["logged"] < 10
    # The descriptor that Twisted reserves for a shortage stays.
    assert said["left"] <= 1


def test_datagrams_are_refused_where_a_port_takes_no_socket_of_ours() -> None:
    code = """
import importlib.util, sys
from pathlib import Path

spec = importlib.util.find_spec("twisted.internet.udp")
source = Path(spec.origin).read_text().replace("_preexistingSocket", "_renamed")
renamed = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = renamed
exec(compile(source, spec.origin, "exec"), vars(renamed))

from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol
from dsadapter.frameworks.twisted import DualStackDatagramEndpoint

failed = []
DualStackDatagramEndpoint(reactor, 0).listen(DatagramProtocol()).addErrback(failed.append)
print(failed[0].type.__name__, failed[0].getErrorMessage())
print(reactor.getReaders())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=60, check=True
    )
    said, readers = done.stdout.splitlines()
    assert said.startswith("NotImplementedError this release of Twisted takes no ready socket")
    assert "DatagramPort" not in readers
