"""Trio and AnyIO on machines without a family, or without dual-stack sockets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.machines import NO_DUAL_STACK, NO_IPV4, NO_IPV6
from support.namespaces import needs_root
from support.seccomp import without

PROGRAM = Path(__file__).with_name("programs") / "coroutine_exchanges.py"
IPV4, IPV6 = "127.0.0.1", "::1"


@pytest.mark.parametrize(
    ("denial", "host", "other", "sockets", "says"),
    [
        (NO_IPV6, IPV4, IPV6, ["0.0.0.0"], "[::1]"),
        # A dual-stack socket has no need of the family; nobody is refused.
        (NO_IPV4, IPV6, IPV4, ["::"], ""),
        pytest.param(NO_DUAL_STACK, IPV4, IPV6, ["0.0.0.0", "::"], "", marks=needs_root),
    ],
    ids=["no IPv6", "no IPv4", "a pair"],
)
def test_what_there_is_is_served(
    denial: str, host: str, other: str, sockets: list[str], says: str
) -> None:
    command = [*without(denial), sys.executable, str(PROGRAM), host, other]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 4
    for row in rows:
        assert row["sockets"] == sockets, row
        assert row["peers"] == row["senders"] == [host, host], row
        assert says in row["other"]
        assert bool(row["other"]) == bool(says)
