from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from support import wine
from support.builds import Distributions

# These start programs of Windows themselves.
collect_ignore_glob = ["test_*.py"] if sys.platform == "win32" else []


# Wine's server may keep the sockets of a killed program, and spin on them until it ends.
@pytest.fixture(scope="module")
def windows(distributions: Distributions) -> Iterator[wine.Windows]:
    """A Windows with the project; a skip where there is no Wine."""
    if reason := wine.lacking():
        pytest.skip(reason)
    with wine.windows(distributions.wheel) as made:
        yield made
