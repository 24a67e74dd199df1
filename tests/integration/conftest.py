"""Reactors of the tests' own, so that no test shares one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.reactors import Reactor


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = Reactor()
    yield made
    made.close()
