"""Rows for programs; ``docs/doctor.md`` has the schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from dsadapter import __version__
from dsadapter.doctor.findings import Question, Row

FORMAT = 1
"""The version of the form; it changes when a member goes or means something else."""


def json_text(rows: Sequence[Row], question: Question, status: int) -> str:
    """One object, in ASCII."""
    return json.dumps(
        {
            "format": FORMAT,
            "dsadapter": __version__,
            "ports": [{"port": port.number, "protocol": port.protocol} for port in question.ports],
            "program": [*question.program],
            "status": status,
            "rows": [_row(row) for row in rows],
        },
        indent=2,
    )


def _row(row: Row) -> dict[str, Any]:
    finding = row.finding
    return {
        "id": f"{row.plugin}:{row.id}" if row.plugin else row.id,
        "subject": finding.subject,
        "title": row.title,
        "mark": finding.mark,
        "fact": finding.fact,
        "remedy": finding.remedy.splitlines(),
        "detail": finding.detail.splitlines(),
        "failed": row.failed,
    }
