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
