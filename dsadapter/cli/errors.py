"""How a command says that it failed."""

from __future__ import annotations


class CommandError(Exception):
    """A command can't do what it was asked for; the text is one line, with the remedy."""


FAILED = 2
"""The exit status of a command that failed itself; 0 is nothing found, 1 something found."""
