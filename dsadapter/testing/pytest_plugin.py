"""Fixtures for pytest; no other module of the package imports pytest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from dsadapter.testing.registration import registered

__all__ = ["register_plugin"]


@pytest.fixture
def register_plugin() -> Iterator[Callable[..., Any]]:
    """A function ``register_plugin(plugin, name=None)`` that registers a plugin until the test ends
    and returns it."""
    with ExitStack() as stack:
        yield lambda plugin, name=None: stack.enter_context(registered(plugin, name))
