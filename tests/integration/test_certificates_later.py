"""A directory of certificates that are there only when the first client comes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.certificates import Files, older_pyopenssl_api
from support.environments import clean_environment
from support.processes import PATIENCE

SCRIPT = Path(__file__).parent / "servers" / "certificates_later.py"

pytestmark = older_pyopenssl_api


@pytest.mark.parametrize("chain", [["chain"], ["chain", "root"]])
def test_a_client_is_served(tmp_path: Path, chain: list[str]) -> None:
    files = Files.written_to(tmp_path)
    directory = tmp_path / "later"
    directory.mkdir()
    come = [files.directory / "a.pem", *(getattr(files, name) for name in chain)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(directory), *map(str, come)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=clean_environment() | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    [outcome] = json.loads(done.stdout)["outcome"]
    assert outcome == "served"
