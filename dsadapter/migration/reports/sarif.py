"""The report as SARIF 2.1.0, as code hosts take it (OASIS Standard, 27 March 2020)."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from dsadapter import __version__
from dsadapter.migration.findings import Certainty, Finding, Span
from dsadapter.migration.patterns import Pattern
from dsadapter.migration.scanning import Report

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_PRECISION = {
    Certainty.CERTAIN: "very-high",
    Certainty.LIKELY: "high",
    Certainty.POSSIBLE: "low",
}


def sarif_report(report: Report, *, possible: bool = False) -> str:
    """What is shown, and what comments suppress, as text of one SARIF log.

    URIs are relative to the working folder, which should be the repository's. There are no
    fingerprints: a code host computes them from the source, so that alerts outlive moved lines.
    """
    shown = [
        (path, finding)
        for path, findings in report.findings.items()
        for finding in findings
        if possible or finding.certainty is not Certainty.POSSIBLE
    ]
    used = {finding.pattern for _, finding in shown}
    rules = [pattern for name, pattern in report.patterns.items() if name in used]
    numbers = {pattern.id: number for number, pattern in enumerate(rules)}
    run = {
        "tool": {
            "driver": {
                "name": "dsadapter",
                "version": __version__,
                "rules": [_rule(pattern) for pattern in rules],
            }
        },
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "executionSuccessful": not report.failures,
                "toolExecutionNotifications": [
                    {
                        "level": "error",
                        "message": {"text": failure.reason},
                        "locations": [_location(failure.path, failure.line)],
                    }
                    for failure in report.failures
                ],
            }
        ],
        "results": [_result(path, finding, numbers, report) for path, finding in shown],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _rule(pattern: Pattern) -> dict[str, Any]:
    return {
        "id": pattern.id,
        "shortDescription": {"text": pattern.name},
        "fullDescription": {"text": pattern.why},
        "help": {"text": pattern.remedy},
        "defaultConfiguration": {"level": pattern.level},
    }


def _result(
    path: Path, finding: Finding, numbers: dict[str, int], report: Report
) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.pattern,
        "ruleIndex": numbers[finding.pattern],
        "level": report.patterns[finding.pattern].level,
        "message": {"text": f"{finding.message}. Instead: {finding.replacement}"},
        "locations": [_location(path, finding.span)],
        "properties": {
            "certainty": finding.certainty.value,
            "precision": _PRECISION[finding.certainty],
        },
    }
    if finding.ignored:
        result["suppressions"] = [{"kind": "inSource"}]
    return result


def _location(path: Path, where: Span | int) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(path)}}
    if isinstance(where, Span):
        physical["region"] = {
            "startLine": where.line,
            "startColumn": where.column + 1,
            "endLine": where.end_line,
            "endColumn": where.end_column + 1,
        }
    elif where >= 1:
        physical["region"] = {"startLine": where}
    return {"physicalLocation": physical}


def _uri(path: Path) -> str:
    try:
        path = Path(os.path.relpath(path))
    except ValueError:
        return path.absolute().as_uri()  # on another drive of Windows
    # Names of files are bytes, and need not be UTF-8.
    return quote(os.fsencode(PurePath(path).as_posix()), safe="/")
