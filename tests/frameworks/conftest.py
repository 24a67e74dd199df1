from __future__ import annotations

import pytest
from support.loop_servers import Run
from support.loops import LOOPS
from support.windows import IGNORES_SOURCES, lacking_in_wine

from dsadapter.testing.conformance import ConformanceSuite

# Rows of the suite.
NEED_NAMESPACES = ("test_forged_source", "test_resolved_address")
CHOOSE_SOURCES = ("test_datagram_answer", "test_datagram_chosen_source")


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine function on each kind of loop."""
    return LOOPS[request.param]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What of the suite is not for Windows, or lacking in Wine."""
    for item in items:
        if not isinstance(item, pytest.Function) or item.cls is None:
            continue
        if not issubclass(item.cls, ConformanceSuite):
            continue
        if "form-denied" in item.name:
            item.add_marker(pytest.mark.not_on_windows("has no IPV6_ADDRFORM"))
        elif item.originalname in NEED_NAMESPACES:
            item.add_marker(pytest.mark.not_on_windows("has no network namespaces"))
        elif item.originalname in CHOOSE_SOURCES:
            item.add_marker(lacking_in_wine(IGNORES_SOURCES))
        elif item.originalname == "test_multicast" and item.cls.framework == "twisted":
            item.add_marker(lacking_in_wine("has no MCAST_JOIN_GROUP"))
