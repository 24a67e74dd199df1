"""What a rule reports, and the changes that would answer it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Certainty(StrEnum):
    """How sure a finding is, and what is done with it."""

    #: ``migrate`` rewrites it.
    CERTAIN = "certain"
    #: It is shown, with what would replace it.
    LIKELY = "likely"
    #: It is shown on request.
    POSSIBLE = "possible"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A place in a file: lines from 1, columns in characters from 0, the end exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class ReplaceExpression:
    """Put ``code`` where the expression stands."""

    span: Span
    code: str


@dataclass(frozen=True, slots=True)
class ReplaceStatement:
    """Put the statement ``code`` where a whole statement stands; without code, delete it."""

    span: Span
    code: str = ""


@dataclass(frozen=True, slots=True)
class AddBase:
    """Put a class before the bases of the class that stands there."""

    span: Span
    name: str


@dataclass(frozen=True, slots=True)
class AddImport:
    """Import a name, or a module as a whole, at the head of the file."""

    module: str
    name: str = ""


Edit = ReplaceExpression | ReplaceStatement | AddBase | AddImport


@dataclass(frozen=True, slots=True)
class Finding:
    """One place that a pattern fits.

    :param pattern: an id of :data:`~dsadapter.migration.patterns.PATTERNS`, or a plugin's own.
    :param message: what was found here.
    :param replacement: what replaces it, in one line.
    :param edits: the changes that do so; only findings that may become certain have any.
    :param adapter: the module of dsadapter that the changed program needs.
    :param also: other lines that it is about, where a comment may suppress it too.
    :param ignored: that a comment suppresses it.
    """

    pattern: str
    certainty: Certainty
    span: Span
    message: str
    replacement: str
    edits: tuple[Edit, ...] = ()
    adapter: str = ""
    also: tuple[int, ...] = ()
    ignored: bool = False
