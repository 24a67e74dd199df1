"""What a covered process says: lines on standard error, and rows of a file.

It never writes to standard output, which is the program's, and no failure of it is the program's.
"""

from __future__ import annotations

import os
import sys

from dsadapter.launcher.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

_LONGEST = 100
_MOST_LINES = 200

NEVER_WAITS = getattr(os, "O_NONBLOCK", 0)
"""Of a file to write to: nobody may be reading from a pipe."""
_NEWLINE = "\n"

_said: set[str] = set()
_settings: Settings | None = None


handed_over: Callable[..., None] | None = None
"""Whom to tell of a mapped address that is translated on its way out; None without the guard."""


def settings() -> Settings:
    """The options of the command, or of ``install``."""
    global _settings
    if _settings is None:
        _settings = Settings.of_environment(os.environ)
    return _settings


def use(chosen: Settings) -> None:
    """Take options from elsewhere than the environment."""
    global _settings
    _settings = chosen


def say(text: str) -> None:
    """Write one line to standard error, once a process; not without end."""
    if text in _said or len(_said) > _MOST_LINES:
        return
    _said.add(text)
    if len(_said) > _MOST_LINES:
        text = "there is more to say, and no end of it; --explain=FILE lists every listener"
    _write_error(f"dsadapter run: {text}\n")


def _write_error(text: str) -> None:
    # Past sys.stderr, which the program may have replaced. contextlib would be an import.
    try:  # noqa: SIM105
        os.write(2, text.encode(errors="backslashreplace"))
    except OSError:
        pass


def process_line() -> str:
    """Which process this is."""
    return f"process {os.getpid()}: {' '.join(sys.orig_argv)[:_LONGEST].partition(_NEWLINE)[0]}"


def columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines, each column as wide as it has to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[-1] = 0
    return [
        "  ".join(part.ljust(width) for part, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def say_lines(lines: Iterable[str]) -> None:
    """Write lines to standard error, together."""
    _write_error("".join(f"dsadapter run: {line}\n" for line in lines))


def append(path: str, row: dict[str, Any]) -> None:
    """Add a JSON object to a file, as a line."""
    import json

    line = json.dumps(row).encode() + b"\n"
    try:
        # One write a line: several processes append.
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | NEVER_WAITS, 0o644)
        try:
            written = os.write(fd, line)
        finally:
            os.close(fd)
    except OSError as error:
        say(f"{path} can't be written: {error.strerror}")
    else:
        if written < len(line):
            say(f"{path} can't be written: there is no room for a whole line")
