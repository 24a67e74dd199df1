from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from support.builds import Distributions, build_distributions
from support.namespaces import OwnLoopback
from support.reactors import Reactor
from support.versions import is_excused
from support.windows import LEFT_OUT, WINDOWS, WINE, LeftOut, start_again_where_wine_fails

# With LibCST there, Hypothesis writes patches of failing examples by its codemods, which end in an
# AttributeError once zope.interface has marked abc.ABC, and the test run with them.
sys.modules["hypothesis.extra._patching"] = None  # type: ignore[assignment]

# A shell's background job ignores it, and so would every program that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if WINE:
    start_again_where_wine_fails()

# How long an example takes is the machine's business; what is pure differs little on Windows, and
# from one Python to the next there less.
EXAMPLES = 100 if not WINDOWS else 15 if sys.version_info >= (3, 13) else 5
settings.register_profile(
    "dsadapter",
    deadline=None,
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("dsadapter")


TESTS = Path(__file__).parent


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
def _isolated(own_loopback: OwnLoopback | None) -> Iterator[None]:
    """Workers and other programs can't take each other's ports: a port that is to be free in one
    family is free, and nothing that a test sends leaves the machine. What installs is
    ``support.namespaces.outside()``."""
    if own_loopback is None:
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
    expected = hasattr(report, "wasxfail")
    item.stash[_FAILED_AS_EXPECTED] = expected and report.skipped
    if report.skipped and not expected and os.environ.get("CI") and not is_excused(report):
        report.outcome = "failed"
        report.longrepr = f"skipped on CI: {report.longrepr}"
    return report


_FAILED_AS_EXPECTED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item):
    """Whatever a test that failed as expected has left open is its own fault, and no later one's,
    in which it would be collected."""
    if item.stash.get(_FAILED_AS_EXPECTED, False):
        gc.collect()
    return (yield)


_left_out = LeftOut()
# Where a worker tells what it left out.
_KEY = "not_on_windows"


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """On Windows some folders and modules are left out as a whole."""
    if not WINDOWS or not collection_path.is_relative_to(TESTS):
        return None
    return True if collection_path.relative_to(TESTS).as_posix() in LEFT_OUT else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not WINDOWS:
        return
    selected = _left_out.select(items)
    config.hook.pytest_deselected(items=[item for item in items if item not in set(selected)])
    items[:] = selected


def pytest_collection_finish() -> None:
    # What has been imported and collected stays: it is no longer looked at whenever a test collects
    # what it has left.
    gc.collect()
    gc.freeze()


def pytest_runtest_logstart(nodeid: str) -> None:
    """Where a run that hangs has been is read in the file that its caller has named."""
    named = os.environ.get("DSADAPTER_TESTS_PROGRESS")
    if named and "PYTEST_XDIST_WORKER" not in os.environ:
        with open(named, "a", encoding="utf-8") as file:
            file.write(f"{nodeid}\n")


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_KEY] = dict(_left_out.reasons)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    # Each worker collects everything.
    _left_out.reasons.update(
        {
            reason: count - _left_out.reasons[reason]
            for reason, count in getattr(node, "workeroutput", {}).get(_KEY, {}).items()
        }
    )


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The closing lines of a run on Windows, which the CI reads."""
    if not WINDOWS:
        return
    terminalreporter.section("Windows")
    for line in _left_out.lines():
        terminalreporter.write_line(line)
    for name, reason in LEFT_OUT.items():
        terminalreporter.write_line(f"tests/{name} not for Windows: {reason}")
    stats = terminalreporter.stats
    terminalreporter.write_line(
        f"Windows, Python {sys.version_info.major}.{sys.version_info.minor}: "
        f"{len(stats.get('passed', ()))} passed, "
        f"{_left_out.reasons.total()} deselected (not for Windows), "
        f"{len(stats.get('xfailed', ()))} failed as expected"
    )
