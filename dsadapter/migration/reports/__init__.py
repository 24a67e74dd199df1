"""What a scan found, for people and for machines."""

from __future__ import annotations

from dsadapter.migration.reports.json import json_report
from dsadapter.migration.reports.sarif import sarif_report
from dsadapter.migration.reports.text import text_report

__all__ = ["json_report", "sarif_report", "text_report"]
