from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings
from support.builds import Distributions, build_distributions
from support.reactors import Reactor
from support.versions import is_excused

# With LibCST there, Hypothesis writes patches of failing examples by its codemods, which end in an
# AttributeError once zope.interface has marked abc.ABC, and the test run with them.
sys.modules["hypothesis.extra._patching"] = None  # type: ignore[assignment]

# How long an example takes is the machine's business.
settings.register_profile("dsadapter", deadline=None)
settings.load_profile("dsadapter")


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    return build_distributions(tmp_path_factory.mktemp("build"))


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
