"""How a command says that it failed."""

from __future__ import annotations


class CommandError(Exception):
    """A command can't do what it was asked for; the text is one line, with the remedy."""
