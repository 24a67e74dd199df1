"""A pytest plugin that fails a test that leaks a mapped address: ``pytest -p
dsadapter.testing.leak_guard``. It is loaded by nothing else.

Each worker of pytest-xdist has a guard of its own. What a thread leaks is the test's that runs.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from dsadapter import guard
from dsadapter.guard.auditing import add_hook
from dsadapter.records import Leak

_TOLD = 5


def pytest_configure() -> None:
    """Install the guard."""
    guard.install("log")


def pytest_unconfigure() -> None:
    """Switch it off."""
    guard.uninstall()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, None, None]:
    """Fail what leaks while it is set up."""
    yield from _leaking_nothing()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """Fail what leaks."""
    yield from _leaking_nothing()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, None, None]:
    """Fail what leaks while it is torn down."""
    yield from _leaking_nothing()


def _leaking_nothing() -> Generator[None, None, None]:
    # A test before may have switched it off, or to another mode.
    add_hook("log")
    with guard.recorded() as seen:
        try:
            yield
        except BaseException as error:
            if not seen:
                raise
            if not isinstance(error, pytest.skip.Exception):
                error.add_note(_told(seen))
                raise
    if seen:
        pytest.fail(_told(seen), pytrace=False)


def _told(seen: list[Leak]) -> str:
    told = [str(leak) for leak in seen[:_TOLD]]
    if len(seen) > _TOLD:
        told.append(f"and {len(seen) - _TOLD} more")
    return "\n".join(told)
