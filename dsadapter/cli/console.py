"""Text for people: colors on a terminal, where rich is installed; plain everywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

#: A line in parts, each with the name of its style.
Part = tuple[str, str]


class Console:
    """Writes lines of styled parts.

    Colors are off when the output is piped, with ``NO_COLOR`` set, or without rich.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._rich = None
        if self._stream.isatty() and not os.environ.get("NO_COLOR"):
            try:
                from rich.console import Console as RichConsole
            except ImportError:
                return
            self._rich = RichConsole(file=self._stream, highlight=False, soft_wrap=True)

    def line(self, *parts: Part | str) -> None:
        """Write one line."""
        styled = [part if isinstance(part, tuple) else (part, "") for part in parts]
        if self._rich is None:
            line = "".join(_printable(text) for text, _ in styled)
            encoding = self._stream.encoding or "utf-8"
            print(line.encode(encoding, "backslashreplace").decode(encoding), file=self._stream)
            return
        from rich.text import Text

        self._rich.print(Text.assemble(*((_printable(text), style) for text, style in styled)))

    def diff(self, text: str) -> None:
        """Write a unified diff."""
        styles = {"+": "green", "-": "red", "@": "cyan"}
        for line in text.removesuffix("\n").split("\n") if text else ():
            self.line((line, styles.get(line[:1], "")))


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far a long run is, on a terminal's error output only."""
    stream = sys.stderr
    if not stream.isatty():
        yield lambda done, total: None
        return
    width = 0

    def show(done: int, total: int) -> None:
        nonlocal width
        if total >= 200 and (done % 50 == 0 or done == total):
            text = f"{what} {done} of {total} files"
            width = max(width, len(text))
            stream.write(f"\r{text}")
            stream.flush()

    try:
        yield show
    finally:
        if width:
            stream.write("\r" + " " * width + "\r")
            stream.flush()


def _printable(text: str) -> str:
    """Text of files and their names, without what would steer a terminal."""
    return "".join(
        c if c.isprintable() or c in "\t\f" else c.encode("unicode_escape").decode() for c in text
    )
