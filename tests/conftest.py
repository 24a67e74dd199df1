from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings
from support.builds import Distributions, build_distributions
from support.namespaces import OwnLoopback
from support.reactors import Reactor
from support.versions import is_excused

# With LibCST there, Hypothesis writes patches of failing examples by its codemods, which end in an
# AttributeError once zope.interface has marked abc.ABC, and the test run with them.
sys.modules["hypothesis.extra._patching"] = None  # type: ignore[assignment]

# How long an example takes is the machine's business.
settings.register_profile("dsadapter", deadline=None)
settings.load_profile("dsadapter")


# Folders whose tests install nothing.
ISOLATED = {"unit", "integration", "neutral", "frameworks", "conformance", "doctor"}


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    return build_distributions(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="session")
def own_loopback() -> OwnLoopback | None:
    """None where making one takes a right that this user lacks."""
    try:
        return OwnLoopback()
    except (OSError, AttributeError):
        return None


@pytest.fixture(scope="module", autouse=True)
def _isolated(request: pytest.FixtureRequest, own_loopback: OwnLoopback | None) -> Iterator[None]:
    """Workers and other programs can't take each other's ports: a port that is to be free in one
    family is free, and nothing that a test sends leaves the machine."""
    if own_loopback is None or request.path.parent.name not in ISOLATED:
        yield
        return
    with own_loopback.entered():
        yield


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    """The test's own, so that no test shares one."""
    made = Reactor()
    yield made
    made.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """On CI a skip is a failure: its machines can run everything that the versions can."""
    report = yield
    if report.skipped and os.environ.get("CI") and not is_excused(report):
        report.outcome = "failed"
        report.longrepr = f"skipped on CI: {report.longrepr}"
    return report
