"""A silent IPv6 address costs an asyncio client one delay, by default."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from support.held import LIVE, NAME, PORT, held_network
from support.namespaces import needs_root

PROGRAM = Path(__file__).with_name("programs") / "connect_past_silence.py"


@needs_root
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_silent_IPv6_address_first(loop: str, tmp_path: Path) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop has no wheel for this machine")
    silent, answering = LIVE[:2]
    with held_network(tmp_path) as network:
        network.let_go(answering)
        network.near.configure("hosts", f"{silent} {NAME}\n{answering} {NAME}\n")
        said = network.near.run(sys.executable, str(PROGRAM), loop, NAME, str(PORT))
    told = json.loads(said)
    assert told["peer"] == [answering, PORT]
    # A busy machine may be slow once, not each time.
    assert 0.25 <= told["best"] < 0.4
