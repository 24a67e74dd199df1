"""What AnyIO runs on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.windows import WINDOWS

BACK_ENDS: dict[str, tuple[str, dict[str, Any]]] = {
    # On Windows asyncio's Proactor loop.
    "asyncio": ("asyncio", {}),
    # There Wine does not start Trio, and uvloop is not for Windows.
    **(
        {"selector": ("asyncio", {"loop_factory": asyncio.SelectorEventLoop})}
        if WINDOWS
        else {"uvloop": ("asyncio", {"use_uvloop": True}), "trio": ("trio", {})}
    ),
}

_ENDS_A_THREAD = pytest.mark.not_on_windows(
    "a socket that is closed ends the thread that AnyIO selects by on the Proactor loop"
)

FOR_CLOSING = [
    pytest.param(name, marks=[_ENDS_A_THREAD] if WINDOWS and name == "asyncio" else [])
    for name in BACK_ENDS
]
"""Names of those on which a socket may be closed that a task waits for, or has waited for."""
