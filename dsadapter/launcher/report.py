"""What a covered process says: lines on standard error, and the list of its listeners.

It never writes to standard output, which is the program's, and no failure of it is the program's.
"""

from __future__ import annotations

import os
import sys

from dsadapter.launcher.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

_LONGEST = 100
_NEWLINE = "\n"

_said: set[str] = set()
_settings: Settings | None = None
_entries: list[Entry] = []
_registered: list[int] = []


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
    """Write one line to standard error, once a process."""
    if text in _said:
        return
    _said.add(text)
    _write_error(f"dsadapter run: {text}\n")


def _write_error(text: str) -> None:
    # Past sys.stderr, which the program may have replaced. contextlib would be an import.
    try:  # noqa: SIM105
        os.write(2, text.encode(errors="backslashreplace"))
    except OSError:
        pass


class Entry:
    """One listener, and what was done with it.

    :param address: as people write it.
    :param serves: ``dual-stack``, ``ipv4``, ``ipv6`` or ``pair``.
    :param done: ``widened``, ``left`` or ``translated``, which is dual-stack without us.
    :param why: why that.
    """

    __slots__ = ("address", "done", "ipv4", "process", "serves", "why")

    def __init__(self, address: str, serves: str, done: str, why: str) -> None:
        self.address = address
        self.serves = serves
        self.done = done
        self.why = why
        self.process = os.getpid()
        self.ipv4: int | None = 0
        """How many peers were accepted that the kernel names by a mapped address; None where
        nobody counts."""

    def row(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: getattr(self, name) for name in self.__slots__}


def list_listener(entry: Entry) -> None:
    """A listener has opened, or has been changed."""
    if entry not in _entries:
        _entries.append(entry)
    chosen = settings()
    if chosen.file is not None:
        append(chosen.file, entry.row())
    if chosen.explain and os.getpid() not in _registered:
        import atexit

        _registered.append(os.getpid())
        atexit.register(_at_exit)


def entries() -> list[Entry]:
    """The listeners of this process."""
    return [entry for entry in _entries if entry.process == os.getpid()]


def table() -> list[str]:
    """The listeners of this process, and the patches, as lines."""
    from dsadapter.launcher.patching import states

    rows = [("LISTENER", "SERVES", "DONE", "MAPPED", "WHY")]
    rows += [
        (e.address, e.serves, e.done, "-" if e.ipv4 is None else str(e.ipv4), e.why)
        for e in entries()
    ]
    covered = [f"{name} ({state})" for name, state in states().items() if state != "on"]
    names = [name for name, state in states().items() if state == "on"]
    return [
        process_line(),
        *columns(rows),
        f"covered: {', '.join(names) or 'nothing'}"
        + (f"; not covered: {', '.join(covered)}" if covered else ""),
    ]


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


def _at_exit() -> None:
    # A forked child inherits this, and may have listeners of its own.
    if entries():
        say_lines(table())


def append(path: str, row: dict[str, Any]) -> None:
    """Add a JSON object to a file, as a line."""
    import json

    try:
        # One write a line: several processes append.
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, json.dumps(row).encode() + b"\n")
        finally:
            os.close(fd)
    except OSError as error:
        say(f"{path} can't be written: {error.strerror}")
