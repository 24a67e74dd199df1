"""What is asked of the doctor, and what a check finds: plain data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Mark = Literal["ok", "advice", "problem"]
"""``ok``: as it should be, or nothing to do about. ``advice``: worth a change, and works without.
``problem``: what was asked for won't work."""

MARKS: tuple[Mark, ...] = ("ok", "advice", "problem")


class AskedPort(NamedTuple):
    """A port that was asked about."""

    number: int
    """1 to 65535."""
    protocol: Literal["tcp", "udp"] | None = None
    """None where none was named: TCP is what is asked for, UDP is looked at."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the doctor was asked. A check must not bind to any of the ports, not even for a
    moment."""

    ports: tuple[AskedPort, ...] = ()
    program: tuple[str, ...] = ()
    """The words of a command line; empty for none."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact."""

    mark: Mark
    fact: str
    """One line."""
    remedy: str = ""
    """What to type about it, a command a line; empty for nothing."""
    subject: str = ""
    """Which of several things it is about, such as a port or a framework."""
    detail: str = ""
    """What only those want to read who ask for more, a line each."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to find out.

    :param id: of a-z, 0-9, dots and dashes. It is what programs know the rows by, and never
        changes; that of a plugin's check gets the plugin's name in front.
    :param title: a word or two for people.
    :param run: finds out. It runs in a process of its own, whose output nobody sees.
    :param limit: how many seconds it may take; then the process is killed.
    """

    id: str
    title: str
    run: Callable[[Question], Finding | Sequence[Finding] | None]
    limit: float = 5.0


@dataclass(frozen=True, slots=True)
class Row:
    """One finding of one check."""

    id: str
    title: str
    finding: Finding
    failed: bool = False
    """Whether this says that the check itself failed: it raised, was stopped, or found nonsense."""
    plugin: str = ""
    """The plugin whose check it is; empty for ours."""
