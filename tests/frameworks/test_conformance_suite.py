"""The conformance suite itself: what leaks fails it, row by row."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

import pytest

from dsadapter.testing.conformance import MAY_DECLINE, ConformanceSuite

KINDS = {"failure", "error", "skipped"}
HERE = Path(__file__).parent
ROWS = sorted(
    name.removeprefix("test_")
    for name in dir(ConformanceSuite)
    if name.startswith("test_") and name != "test_declines_only_what_may_be_declined"
)


def outcomes(folder: Path, text: str) -> dict[str, list[set[str]]]:
    """Run a file of tests by itself; for each row what became of it, by its parameters: nothing
    where it has passed."""
    file = folder / "test_it.py"
    file.write_text(text)
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    subprocess.run(
        [*command, f"--junitxml={report}", f"--rootdir={folder}", str(file)],
        check=False,
        capture_output=True,
        env={"PYTHONPATH": str(HERE.parent)},
        cwd=folder,
        timeout=240,
    )
    cases = defaultdict(set)
    for case in ET.parse(report).iter("testcase"):
        # What fails both in the row and after it is there twice.
        cases[str(case.get("name"))] |= {child.tag for child in case} & KINDS
    found = defaultdict(list)
    for name, kinds in cases.items():
        found[name.partition("[")[0].removeprefix("test_")].append(kinds)
    return found


@pytest.fixture(scope="module")
def leaking(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[set[str]]]:
    return outcomes(
        tmp_path_factory.mktemp("leaking"),
        "from frameworks.drivers.leaking_driver import LeakingDriver\n"
        "from dsadapter.testing.conformance import ConformanceSuite\n"
        "class TestLeaking(ConformanceSuite):\n"
        "    driver = LeakingDriver\n",
    )


@pytest.mark.parametrize("row", ROWS)
def test_a_leaking_adapter_fails(row: str, leaking: dict[str, list[set[str]]]) -> None:
    assert leaking[row]
    assert all("failure" in kinds for kinds in leaking[row])


def test_every_row_that_may_be_declined_is_one_and_has_a_reason() -> None:
    assert set(MAY_DECLINE) <= set(ROWS)
    assert all(MAY_DECLINE.values())
