"""Any bytes, wherever bytes come from anybody: no exception escapes, nothing hangs past its limit,
no descriptor is left. ``CONTRIBUTING.md`` has the commands for many more cases.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.descriptors import open_descriptors
from support.hostile import CASES, SEEDS, TARGETS


@st.composite
def nearly(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed with a few changes."""
    made = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(made)))
        cut = draw(st.integers(0, 3))
        made = made[:at] + draw(st.binary(max_size=4)) + made[at + cut :]
    return made


@pytest.mark.not_on_windows("its sockets are pairs of AF_UNIX")
@pytest.mark.parametrize("target", TARGETS)
def test_no_bytes_do_harm(target: str) -> None:
    @settings(max_examples=max(100, CASES // len(TARGETS)), deadline=None)
    @given(nearly(SEEDS[target]) | st.binary(max_size=300))
    def run(data: bytes) -> None:
        TARGETS[target](data)

    before = open_descriptors() if os.path.exists("/proc/self/fd") else set()
    run()
    assert not before or open_descriptors() <= before
