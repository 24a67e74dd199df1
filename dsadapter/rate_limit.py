"""Log messages at a limited rate."""

from __future__ import annotations

import time

INTERVAL = 60.0
"""Seconds between two messages about one matter."""


class RateLimit:
    """One matter that is not to fill a log."""

    __slots__ = ("_again_at", "_unsaid")

    def __init__(self) -> None:
        self._again_at = 0.0
        self._unsaid = 0

    def admit(self) -> str | None:
        """Whether to log now: None for no, else what to add about those that were not logged."""
        now = time.monotonic()
        if now < self._again_at:
            self._unsaid += 1
            return None
        unsaid, self._unsaid = self._unsaid, 0
        self._again_at = now + INTERVAL
        return f" ({unsaid} more were not logged)" if unsaid else ""
