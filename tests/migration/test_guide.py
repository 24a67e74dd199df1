"""What ``docs/migrating.md`` says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from support.builds import CHECKOUT
from support.environments import clean_environment

from dsadapter.migration.discovery import CONFIGURATION, NAMES, PYTHON, is_candidate
from dsadapter.migration.patterns import PATTERNS

GUIDE = (CHECKOUT / "docs" / "migrating.md").read_text(encoding="utf-8")


def block(info: str) -> str:
    found = re.search(rf"^```{info}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_every_pattern_is_listed() -> None:
    rows = re.findall(r"^\| (P\d+x?) \| (.+?) \| (\w+) \|$", GUIDE, re.MULTILINE)
    assert rows == [(pattern.id, pattern.name, pattern.level) for pattern in PATTERNS.values()]


def test_every_kind_of_file_is_named() -> None:
    for name in (PYTHON | CONFIGURATION | NAMES) - {".pyi"}:
        assert f"`{name}`" in GUIDE, name


def test_the_commands_do_what_it_says(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "examples" / "legacy", tmp_path / "legacy")
    server = tmp_path / "legacy" / "twisted_echo.py"
    assert block("python before") in server.read_text()
    install, *commands = block("console").splitlines()
    assert "dsadapter[cli,migrate]" in install
    statuses = []
    for command in commands:
        program, *arguments = command.removeprefix("$ ").split()
        assert program == "dsadapter"
        done = subprocess.run(
            [sys.executable, "-m", "dsadapter", *arguments],
            cwd=tmp_path,
            env=clean_environment(),
            capture_output=True,
            check=False,
            timeout=120,
        )
        statuses.append(done.returncode)
    assert statuses == [1, 1, 1]
    assert block("python after") in server.read_text()


def test_pre_commit_hands_over_the_files_that_a_scan_looks_at() -> None:
    hook = (CHECKOUT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    found = re.search(r"files: '(.*)'", hook)
    assert found is not None
    for name in [*(f"a{suffix}" for suffix in PYTHON | CONFIGURATION), *NAMES, "a.c", "README.md"]:
        assert bool(re.search(found[1], f"folder/{name}")) == is_candidate(name), name
