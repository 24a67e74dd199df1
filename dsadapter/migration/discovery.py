"""Which files are looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PYTHON = {".py", ".pyw", ".tac", ".rpy", ".pyi"}
CONFIGURATION = {
    ".ini",
    ".cfg",
    ".conf",
    ".toml",
    ".yaml",
    ".yml",
    ".socket",
    ".service",
    ".sh",
    ".bash",
}
NAMES = {"Procfile", "Dockerfile", "Containerfile"}
_NEVER = {"__pycache__", "node_modules", "site-packages", "dist-packages", "venv", "env"}
_TESTS = {"tests", "test", "testing", "_tests", "fixtures"}
_VENDORED = {"vendor", "vendored", "_vendor", "third_party", "ext"}


@dataclass
class Discovered:
    """What a walk found.

    :param skipped: how many files of tests and copies of other projects were passed over.
    :param unread: folders that could not be listed, and why.
    """

    files: list[Path] = field(default_factory=list)
    skipped: int = 0
    unread: list[tuple[Path, str]] = field(default_factory=list)


def discover(paths: list[Path], *, everything: bool = False) -> Discovered:
    """Walk folders; a file that is named is taken as it is.

    :param everything: look at tests and at copies of other projects too.
    :raises FileNotFoundError: with the path, if one is not there.
    """
    found = Discovered()
    seen: set[Path] = set()
    for path in paths:
        if path.is_dir():
            for file in _walk(path, found, everything=everything):
                if file not in seen:
                    seen.add(file)
                    found.files.append(file)
        elif path not in seen:
            try:
                # exists() calls a file missing that is in a folder which can't be read.
                path.stat()
            except FileNotFoundError as error:
                raise FileNotFoundError(str(path)) from error
            seen.add(path)
            found.files.append(path)
    return found


def _walk(root: Path, found: Discovered, *, everything: bool) -> Iterator[Path]:
    def failed(error: OSError) -> None:
        found.unread.append((Path(error.filename or root), error.strerror or str(error)))

    for folder, folders, files in os.walk(root, onerror=failed):
        folders[:] = sorted(
            name
            for name in folders
            if name not in _NEVER
            and not name.startswith(".")
            and not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
        )
        here = Path(folder)
        parts = set(here.relative_to(root).parts)
        passed = not everything and bool(parts & (_TESTS | _VENDORED))
        for name in sorted(files):
            if not is_candidate(name):
                continue
            if passed or (not everything and _is_test(name)):
                found.skipped += 1
            else:
                yield here / name


def is_candidate(name: str) -> bool:
    """Whether a file's name is one that is looked at."""
    return os.path.splitext(name)[1] in PYTHON | CONFIGURATION or name in NAMES


def is_script(data: bytes) -> bool:
    """Whether a file's first line names Python as its interpreter."""
    first, _, _ = data.partition(b"\n")
    return first.startswith(b"#!") and b"python" in first


def _is_test(name: str) -> bool:
    return name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py"
