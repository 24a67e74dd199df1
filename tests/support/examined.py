"""``dsadapter doctor``, as programs read it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, NamedTuple

from support.environments import clean_environment
from support.processes import PATIENCE

# The superuser without any capability: others' environments may be out of reach for other users.
WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


class Report(NamedTuple):
    """What one run said."""

    status: int
    rows: list[dict[str, Any]]

    def row(self, which: str, subject: str | None = None) -> dict[str, Any]:
        """The one row with an id, and about a subject."""
        found = [
            row
            for row in self.rows
            if row["id"] == which and (subject is None or row["subject"] == subject)
        ]
        assert len(found) == 1, f"{which} {subject}: {found or self.rows}"
        return found[0]

    def marks(self) -> dict[str, str]:
        """The marks of all rows that are not ok, by id and subject."""
        return {
            f"{row['id']} {row['subject']}".strip(): row["mark"]
            for row in self.rows
            if row["mark"] != "ok"
        }


def run_doctor(
    *words: str, prefix: tuple[str, ...] = (), python: str = sys.executable, **kwargs: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    options = {"env": clean_environment(), "cwd": "/"} | kwargs
    command = [*prefix, python, "-m", "dsadapter", "doctor", *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, check=False, **options
    )


def examined(*words: str, **kwargs: Any) -> Report:
    """What it says as JSON."""
    done = run_doctor("--json", *words, **kwargs)
    assert done.returncode in (0, 1, 2), done.stderr
    assert done.stderr == ""
    said = json.loads(done.stdout)
    assert said["status"] == done.returncode
    return Report(said["status"], said["rows"])
