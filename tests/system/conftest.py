from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.builds import Distributions
from support.cutovers import Cutovers
from support.environments import Environment
from support.namespaces import OwnLoopback
from support.servers import servers_environment


@pytest.fixture(scope="session")
def servers(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return servers_environment(distributions, tmp_path_factory)


@pytest.fixture
def alone() -> Iterator[None]:
    """A loopback of its own."""
    with OwnLoopback().entered():
        yield


@pytest.fixture
def cutovers(alone: None, tmp_path: Path) -> Iterator[Cutovers]:
    runs = Cutovers(tmp_path)
    yield runs
    runs.end()
