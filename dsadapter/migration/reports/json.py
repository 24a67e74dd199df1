"""The report as one JSON object."""

from __future__ import annotations

import json

from dsadapter.migration.scanning import Report


def json_report(report: Report, *, possible: bool = False) -> str:
    """What is shown, as text of one JSON object; lines and columns count from 1."""
    findings = [
        {
            "path": str(path),
            "line": finding.span.line,
            "column": finding.span.column + 1,
            "end_line": finding.span.end_line,
            "end_column": finding.span.end_column + 1,
            "pattern": finding.pattern,
            "certainty": finding.certainty.value,
            "level": report.patterns[finding.pattern].level,
            "message": finding.message,
            "why": report.patterns[finding.pattern].why,
            "replacement": finding.replacement,
        }
        for path, finding in report.shown(possible=possible)
    ]
    failures = [
        {"path": str(failure.path), "line": failure.line, "reason": failure.reason}
        for failure in report.failures
    ]
    result = {
        "findings": findings,
        "failures": failures,
        "files": report.files,
        "skipped": report.skipped,
    }
    return json.dumps(result, indent=2)
