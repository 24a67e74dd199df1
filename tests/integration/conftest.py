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


@pytest.fixture
def global_clock(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twisted's own TLS endpoints take the clock of the global reactor, which no test here runs."""
    monkeypatch.setattr("twisted.protocols.tls._get_default_clock", lambda: reactor, raising=False)
