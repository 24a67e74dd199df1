"""Suites of servers that know nothing of the project pass under ``dsadapter run`` as without it.

``EVERY_PROGRAM=yes tox -e py -- tests/system/test_run_*.py`` runs those that take longer, too.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as Xml
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from support.builds import Distributions
from support.environments import PATIENCE, Environment, clean_environment, create_environment
from support.namespaces import OwnLoopback
from support.programs import EVERY


class Suite(NamedTuple):
    """The tests of a source distribution."""

    name: str
    version: str
    needs: tuple[str, ...]
    tests: tuple[str, ...]
    """Arguments of pytest."""
    files: Mapping[str, int] = {}
    """What the distribution leaves out, and how many bytes it has."""

    def __str__(self) -> str:
        return self.name


# Without what they want for coverage and colors.
_PLAIN = ("-o", "addopts=", "-o", "filterwarnings=")
SHORT = (
    Suite("waitress", "3.0.2", (), (*_PLAIN, "tests")),
    Suite(
        "pyftpdlib",
        "2.2.0",
        ("psutil", "pyopenssl", "pytest-order", "pytest-xdist"),
        # Half the runs of its tests of TLS fail in an OpenSSL that two threads use, or crash there.
        (*_PLAIN, "tests", "--ignore=tests/test_functional_ssl.py"),
    ),
)
LONG = (
    Suite(
        "aiosmtpd",
        "1.4.6",
        ("pytest-asyncio", "pytest-mock", "setuptools<80"),
        (
            *_PLAIN,
            *("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"),
            "aiosmtpd/tests",
        ),
    ),
    # Its clients ask before its server is bound, and again after 5 seconds.
    Suite("tftpy", "0.8.7", (), (*_PLAIN, "tests/test.py"), {"tests/640KBFILE": 655360}),
)
SUITES = (*SHORT, *LONG) if EVERY else SHORT


@pytest.fixture(scope="module")
def environment(
    distributions: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """Every server, from its source, beside the project."""
    folder = tmp_path_factory.mktemp("suites")
    made = create_environment(folder / "environment", "uv")
    names = [f"{suite.name}=={suite.version}" for suite in SUITES]
    download = ["--no-deps", "--no-binary", ",".join(suite.name for suite in SUITES)]
    pip = [sys.executable, "-m", "uv", "run", "--no-project", "--with", "pip", "--python"]
    done = subprocess.run(
        [*pip, str(made.python), "python", "-m", "pip", "download", *download, *names],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    for suite in SUITES:
        with tarfile.open(folder / f"{suite.name}-{suite.version}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
        for name, size in suite.files.items():
            (_source(made, suite) / name).write_bytes(bytes(size))
    needs = {need for suite in SUITES for need in suite.needs}
    sources = [_source(made, suite) for suite in SUITES]
    made.install(distributions.wheel, *sources, "pytest", "pytest-timeout", *needs)
    return made


@pytest.mark.timeout(900)
@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_a_suite_passes_as_it_does_without(
    environment: Environment, tmp_path: Path, suite: Suite
) -> None:
    listing = tmp_path / "listing"
    run = [environment.program("dsadapter"), "run", f"--explain={listing}", "--"]
    ways = {"without": [], "covered": run}
    with contextlib.ExitStack() as stack:
        running = {
            way: stack.enter_context(_tested(environment, suite, command, tmp_path / way))
            for way, command in ways.items()
        }
        for process in running.values():
            process.wait(800)
    said = {way: (tmp_path / way / "output").read_text()[-5000:] for way in ways}
    found = {way: _outcomes(tmp_path / way / "report.xml") for way in ways}
    assert found["covered"] == found["without"], said["covered"]
    assert [running[way].returncode for way in ways] == [0, 0], said["without"]
    assert sum(outcome == "passed" for outcome in found["covered"].values()) > 10
    # It was covered, and did listen.
    assert listing.read_text()
    assert "stays as it is" not in (tmp_path / "covered" / "output").read_text()


def _source(environment: Environment, suite: Suite) -> Path:
    return environment.path.parent / f"{suite.name}-{suite.version}"


@contextlib.contextmanager
def _tested(
    environment: Environment, suite: Suite, command: list[str], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A run of a suite, in files and on a loopback of its own: some have fixed ports."""
    shutil.copytree(_source(environment, suite), folder)
    network: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    with contextlib.suppress(OSError, AttributeError):
        network = OwnLoopback().entered()
    pytest_ = [str(environment.python), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    report = f"--junitxml={folder / 'report.xml'}"
    # Short: sockets have their names there.
    with tempfile.TemporaryDirectory(dir="/tmp") as temporary:
        with network, (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                [*command, *pytest_, report, "--timeout=120", *suite.tests],
                cwd=folder,
                env=clean_environment(PYTHONDONTWRITEBYTECODE="1", TMPDIR=temporary),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        with process:
            try:
                yield process
            finally:
                process.kill()


def _outcomes(report: Path) -> dict[str, str]:
    """By the name of a test: how it went."""
    found = {}
    for case in Xml.parse(report).iter("testcase"):
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        name = f"{case.get('classname')}.{case.get('name')}"
        found[name] = " and ".join(sorted(kinds)) or "passed"
    return found
