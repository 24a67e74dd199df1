"""Scanning: bytes first, then syntax, for as few files as can be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from dsadapter.migration.configuration import scan_configuration
from dsadapter.migration.discovery import PYTHON, discover, is_script
from dsadapter.migration.findings import Certainty, Finding
from dsadapter.migration.module import Module
from dsadapter.migration.patterns import PATTERNS, Pattern
from dsadapter.migration.proving import judged
from dsadapter.migration.rules import BUILT_IN, Rule
from dsadapter.migration.suppressions import suppressed, suppressions_of, unused


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be looked at.

    :param line: from 1; 0 if the file as a whole is meant.
    """

    path: Path
    line: int
    reason: str


@dataclass
class Report:
    """The result of a scan.

    :param findings: by file, in the order of the walk, ignored ones included.
    :param files: how many were looked at; ``parsed``: how many of them were parsed.
    :param skipped: how many were passed over, being tests or copies of other projects.
    """

    findings: dict[Path, list[Finding]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    files: int = 0
    parsed: int = 0
    skipped: int = 0
    patterns: dict[str, Pattern] = field(default_factory=lambda: dict(PATTERNS))

    def shown(self, *, possible: bool = False) -> Iterator[tuple[Path, Finding]]:
        """What is shown: all that is not ignored, what is only possible on request."""
        for path, findings in self.findings.items():
            for finding in findings:
                if not finding.ignored and (
                    possible or finding.certainty is not Certainty.POSSIBLE
                ):
                    yield path, finding

    def count(self, certainty: Certainty) -> int:
        """How many findings are that sure."""
        return sum(f.certainty is certainty for _, f in self.shown(possible=True))


class Scanner:
    """Rules, ready to run over files.

    :param rules: the built-in ones, and those of plugins behind them.
    """

    def __init__(self, rules: Iterable[Rule] = BUILT_IN) -> None:
        self._rules = list(rules)
        self._triggers = [_one_of(rule.triggers) for rule in self._rules]
        self._any = _one_of(tuple(chain.from_iterable(rule.triggers for rule in self._rules)))
        self.patterns = dict(PATTERNS)
        for rule in self._rules:
            self.patterns.update({pattern.id: pattern for pattern in rule.patterns})

    def python(self, data: bytes) -> list[Finding] | None:
        """What is found in a Python file; None if its bytes rule out that anything is.

        :raises SyntaxError: if it can't be parsed.
        """
        if self._any.search(data) is None and b"dsadapter:" not in data:
            return None
        module = Module(data)
        suppressions = suppressions_of(data)
        found: list[Finding] = []
        for rule, triggers in zip(self._rules, self._triggers, strict=True):
            if triggers.search(data) is not None:
                found.extend(self._checked(rule, module))
        findings = judged(module, list(suppressed(found, suppressions)))
        return findings + list(unused(suppressions))

    def _checked(self, rule: Rule, module: Module) -> list[Finding]:
        name = getattr(rule.check, "__qualname__", repr(rule.check))
        name = f"{getattr(rule.check, '__module__', '')}.{name}"
        try:
            found = list(rule.check(module))
        except RecursionError:
            raise
        except Exception as error:
            raise RuleError(f"rule {name} failed: {type(error).__name__}: {error}") from error
        for finding in found:
            if finding.pattern not in self.patterns:
                raise RuleError(f"rule {name} reports the pattern {finding.pattern!r}, unlisted")
        return found

    def scan(
        self,
        paths: Sequence[Path],
        *,
        everything: bool = False,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Report:
        """Scan files and folders.

        :param progress: is told how many files are done, and how many there are.
        :raises FileNotFoundError: if a path is not there.
        """
        discovered = discover(list(paths), everything=everything)
        report = Report(skipped=discovered.skipped, patterns=self.patterns)
        report.failures += [Failure(path, 0, reason) for path, reason in discovered.unread]
        for number, path in enumerate(discovered.files):
            progress(number, len(discovered.files))
            self._file(path, report)
        progress(len(discovered.files), len(discovered.files))
        return report

    def _file(self, path: Path, report: Report) -> None:
        report.files += 1
        try:
            if not path.is_file():
                # Reading a pipe, or a device, would wait for somebody to write.
                report.failures.append(Failure(path, 0, "it is no regular file"))
                return
            data = path.read_bytes()
        except OSError as error:
            report.failures.append(Failure(path, 0, error.strerror or str(error)))
            return
        try:
            if path.suffix in PYTHON or is_script(data):
                findings = self.python(data)
                report.parsed += findings is not None
            else:
                findings = scan_configuration(path.name, data)
        except SyntaxError as error:
            report.failures.append(Failure(path, error.lineno or 0, error.msg))
        except (ValueError, RecursionError, MemoryError, RuleError) as error:
            report.failures.append(Failure(path, 0, str(error) or type(error).__name__))
        else:
            if findings:
                report.findings[path] = findings


class RuleError(Exception):
    """A rule failed on a file: its own fault, not the file's."""


def _one_of(texts: tuple[bytes, ...]) -> re.Pattern[bytes]:
    return re.compile(b"|".join(re.escape(text) for text in sorted(set(texts))) or b"(?!)")
