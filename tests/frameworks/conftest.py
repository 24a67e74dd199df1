from __future__ import annotations

import pytest
from support.loop_servers import Run
from support.loops import LOOPS


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine function on each kind of loop."""
    return LOOPS[request.param]
