from __future__ import annotations

import pytest
from support.builds import Distributions
from support.environments import Environment
from support.servers import servers_environment


@pytest.fixture(scope="session")
def servers(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return servers_environment(distributions, tmp_path_factory)
