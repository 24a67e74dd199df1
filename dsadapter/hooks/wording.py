"""How messages speak of what a plugin has done, and of what an operator can do about it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from dsadapter.messages import quoted

BLOCK_VARIABLE = "DSADAPTER_BLOCK_PLUGINS"
REQUIRE_VARIABLE = "DSADAPTER_REQUIRE_PLUGINS"

PROGRAM_ENDS = (KeyboardInterrupt, SystemExit)
"""What a plugin's function may raise and nobody catches: it is meant to end the program. All else
is, ``asyncio.CancelledError`` included."""


def remedy(plugin: str) -> str:
    """What an operator can do about a broken plugin."""
    return f"fix or update it, or keep it out with {BLOCK_VARIABLE}={plugin}"


def returned(result: object) -> str:
    """What a function that has to return None did instead."""
    if inspect.iscoroutine(result):
        # Python would warn of one that was never awaited.
        result.close()
        return "returned a coroutine, which nobody awaits, instead of None"
    return f"returned {quoted(result)} instead of None"


def listing(names: Iterable[str]) -> str:
    """Names for a message: ``'a', 'b'``, or ``none``."""
    return ", ".join(repr(name) for name in names) or "none"
