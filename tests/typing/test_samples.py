"""What is checked by types runs, too."""

from __future__ import annotations

import runpy
import types
from pathlib import Path

import pytest

from dsadapter.errors import RefusedError
from dsadapter.frameworks import get_framework
from dsadapter.policy import ListenPolicy
from dsadapter.testing import registered


@pytest.fixture
def sample() -> types.ModuleType:
    module = types.ModuleType("plugin_sample")
    vars(module).update(runpy.run_path(str(Path(__file__).with_name("plugin_sample.py"))))
    return module


def test_the_sample_is_a_plugin(sample: types.ModuleType) -> None:
    with registered(sample), registered(sample.Watcher()):
        server = get_framework("threads").server
        assert server is not None
        [sock] = server(None, ListenPolicy("::", 0))
        assert sock.getsockname()[0] == "::"
        sock.close()
        with pytest.raises(RefusedError) as caught:
            server(None, ListenPolicy("0.0.0.0", 0))
    assert caught.value.reason == "0.0.0.0:0 is open to everybody"
