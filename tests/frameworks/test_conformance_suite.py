"""The conformance suite itself: what leaks fails it, row by row."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from dsadapter.command_lines import extra
from dsadapter.testing import Driver, driver_process
from dsadapter.testing.conformance import MAY_DECLINE, ConformanceSuite
from dsadapter.testing.driver_process import DriverProcess

from .drivers.leaking_driver import LeavingDriver

KINDS = {"failure", "error", "skipped"}
HERE = Path(__file__).parent
ROWS = sorted(
    name.removeprefix("test_")
    for name in dir(ConformanceSuite)
    if name.startswith("test_") and name != "test_declines_only_what_may_be_declined"
)


def outcomes(folder: Path, text: str) -> dict[str, set[str]]:
    """Run a file of tests by itself; what became of each row with its parameters: nothing where it
    has passed."""
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
    found = defaultdict(set)
    for case in ET.parse(report).iter("testcase"):
        # What fails both in the row and after it is there twice.
        name = str(case.get("name")).removeprefix("test_")
        found[name] |= {child.tag for child in case} & KINDS
    return found


SUBCLASS = """
from frameworks.drivers.leaking_driver import {driver}
from dsadapter.testing.conformance import ConformanceSuite

class TestLeaking(ConformanceSuite):
    driver = {driver}
    declines = {declines}
"""


def rows_of(folder: Path, driver: str, declines: Sequence[str] = ()) -> dict[str, set[str]]:
    return outcomes(folder, SUBCLASS.format(driver=driver, declines=tuple(declines)))


@pytest.fixture(scope="module")
def leaking(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    return rows_of(tmp_path_factory.mktemp("leaking"), "LeakingDriver")


@pytest.mark.not_on_windows("the rows that this is about are Linux's")
@pytest.mark.parametrize("row", ROWS)
def test_a_leaking_adapter_fails(row: str, leaking: dict[str, set[str]]) -> None:
    cases = [kinds for name, kinds in leaking.items() if name.partition("[")[0] == row]
    assert len(cases) >= 2
    assert all("failure" in kinds for kinds in cases)


@pytest.mark.not_on_windows("the rows that this is about are Linux's")
def test_an_adapter_that_relies_on_the_kernels_form_fails_where_the_kernel_does_not_help(
    tmp_path: Path,
) -> None:
    found = rows_of(tmp_path, "KernelsFormDriver", sorted(MAY_DECLINE))
    assert found["peer[form]"] == found["handle_peer[form]"] == set()
    assert "failure" in found["peer[form-denied]"]
    for deed in ("half-closes", "closes", "resets"):
        assert "failure" in found[f"early_peer[form-{deed}]"]


@pytest.mark.not_on_windows("the rows that this is about are Linux's")
def test_what_is_not_in_the_list_can_not_be_declined(tmp_path: Path) -> None:
    found = rows_of(tmp_path, "LeakingDriver", ["peer", *MAY_DECLINE])
    assert found["declines_only_what_may_be_declined"] == {"failure"}
    for row in MAY_DECLINE:
        assert found[f"{row}[form]"] == {"skipped"}


def test_every_row_that_may_be_declined_is_one_and_has_a_reason() -> None:
    assert set(MAY_DECLINE) <= set(ROWS)
    assert all(MAY_DECLINE.values())


def test_a_driver_has_six_methods() -> None:
    assert len(Driver.__abstractmethods__) == 6


def test_a_suite_ends_whatever_its_driver_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "left"
    monkeypatch.setenv("LEFT", str(left))
    process = DriverProcess(LeavingDriver)
    try:
        # For what still holds the driver's standard error.
        monkeypatch.setattr(driver_process, "PATIENCE", 0.1)
        process.end()
    finally:
        os.kill(int(left.read_text()), signal.SIGTERM)


def test_what_to_install_where_pytest_is_missing() -> None:
    program = "import sys; sys.modules['pytest'] = None; import dsadapter.testing.conformance"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert extra("testing") in done.stderr
