"""Programs under ``dsadapter run``, and what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from support.environments import clean_environment

DSADAPTER = (sys.executable, "-m", "dsadapter")


def launch(*program: str, options: tuple[str, ...] = ()) -> list[str]:
    """The command line of a program under the launcher."""
    return [*DSADAPTER, "run", *options, "--", *program]


def finished(argv: list[str], **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """What a program said that has ended."""
    options = {"env": clean_environment(), "cwd": "/"} | kwargs
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, **options)


def run_script(
    source: str, folder: Path, *arguments: str, options: tuple[str, ...] = (), **kwargs: Any
) -> str:
    """The output of a script that has to succeed under the launcher."""
    path = folder / "script.py"
    path.write_text(source, encoding="utf-8")
    done = finished(launch(sys.executable, str(path), *arguments, options=options), **kwargs)
    assert done.returncode == 0, done.stderr
    return done.stdout


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What the launcher said, without its start line."""
    lines = [line.removeprefix("dsadapter run: ") for line in done.stderr.splitlines()]
    return [line for line in lines if "shows IPv4 peers as IPv4" not in line]
