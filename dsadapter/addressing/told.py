"""Addresses as other servers tell them, among names and paths."""

from __future__ import annotations

from functools import lru_cache

from dsadapter.addressing.text import unmap_text

_LONGEST = len("0000:0000:0000:0000:0000:ffff:255.255.255.255")


def unmap_told(text: str) -> str:
    """As :func:`~dsadapter.addressing.unmap`, but what two parsers would read differently comes
    back as it is, too, and so does what is no text: whoever told it is not here to be refused."""
    try:
        # The group that makes an address a mapped one has one spelling.
        if ("ffff" not in text and "ffff" not in text.lower()) or len(text) > _LONGEST:
            return text
        return _told(text)
    except (TypeError, AttributeError):
        return text


@lru_cache(4096)
def _told(text: str) -> str:
    try:
        return unmap_text(text)
    except ValueError:
        return text
