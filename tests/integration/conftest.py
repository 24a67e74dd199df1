from __future__ import annotations

import pytest
from support.reactors import Reactor


@pytest.fixture
def global_clock(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twisted's own TLS endpoints take the clock of the global reactor, which no test here runs."""
    monkeypatch.setattr("twisted.protocols.tls._get_default_clock", lambda: reactor, raising=False)
