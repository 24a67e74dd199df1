"""What AnyIO runs on."""

from __future__ import annotations

import asyncio
from typing import Any

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
