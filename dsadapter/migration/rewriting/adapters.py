"""The modules that a rewritten program imports, and whether this version has them."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

TWISTED = "dsadapter.frameworks.twisted"
ASYNCIO = "dsadapter.frameworks.asyncio"
STDLIB = "dsadapter.frameworks.blocking"


@cache
def is_available(adapter: str) -> bool:
    """Whether a program can import ``adapter``; no program is rewritten to need what is missing."""
    return find_spec(adapter) is not None
