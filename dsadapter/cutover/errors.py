"""Why a cut-over can't be."""

from __future__ import annotations


class CutoverError(Exception):
    """It can't be; the text is one line, with the remedy."""


class InterruptedCutoverError(Exception):
    """Somebody has asked for an end, by a signal."""
