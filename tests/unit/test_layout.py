"""The tree: a module is found by its name, and stays small enough to be read at once."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

import dsadapter

ROOT = Path(dsadapter.__file__).parent
MODULES = [path for path in ROOT.rglob("*.py") if path.name != "__init__.py"]
SAME_IN_EVERY_FRAMEWORK = {"server", "client", "datagram"}
MAX_LINES = 500


def test_no_two_modules_have_one_name() -> None:
    found = defaultdict(list)
    for path in MODULES:
        found[path.stem].append(path.relative_to(ROOT))
    for folder in ROOT.rglob("__init__.py"):
        found[folder.parent.name].append(folder.parent.relative_to(ROOT.parent))
    doubles = {name: where for name, where in found.items() if len(where) > 1}
    assert doubles.keys() <= SAME_IN_EVERY_FRAMEWORK, doubles


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES
