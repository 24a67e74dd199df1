"""What a rule is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from dsadapter.migration.findings import Finding
from dsadapter.migration.module import Module
from dsadapter.migration.patterns import Pattern


class Rule(NamedTuple):
    """A check of Python files.

    :param triggers: bytes of which a file must hold one for the rule to run on it. They are what
        makes a scan fast: a file that holds none of any rule's is not even parsed.
    :param check: takes the parsed file, yields what it finds.
    :param patterns: patterns that the rule brings, with ids of its own; none for the built-in ones.
    """

    triggers: tuple[bytes, ...]
    check: Callable[[Module], Iterable[Finding]]
    patterns: tuple[Pattern, ...] = ()
