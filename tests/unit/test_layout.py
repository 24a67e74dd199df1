"""The tree: a module is found by its name, and stays small enough to be read at once."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from support.windows import reads_sources

import dsadapter

pytestmark = reads_sources

ROOT = Path(dsadapter.__file__).parent
MODULES = [path for path in ROOT.rglob("*.py") if path.name != "__init__.py"]
SAME_IN_EVERY_FRAMEWORK = {"adapter", "server", "client", "datagram"}
# A tool's rules and rewrites are about frameworks, and bear their names.
FRAMEWORKS = {"asyncio", "stdlib", "twisted"}
TOOLS = {"cli", "cutover", "doctor", "launcher", "migration"}
MAX_LINES = 500


def test_no_two_modules_of_the_library_or_of_a_tool_have_one_name() -> None:
    found: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path in (*MODULES, *(folder.parent for folder in ROOT.rglob("__init__.py"))):
        if path == ROOT:
            continue
        place = path.relative_to(ROOT)
        tool = place.parts[0] if place.parts[0] in TOOLS else ""
        found[tool, path.stem].append(place)
    doubles = {name: where for name, where in found.items() if len(where) > 1}
    allowed = SAME_IN_EVERY_FRAMEWORK | FRAMEWORKS
    assert {name for _, name in doubles} <= allowed, doubles


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES
