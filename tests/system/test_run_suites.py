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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from support.builds import Distributions
from support.environments import PATIENCE, Environment, clean_environment, create_environment
from support.namespaces import OwnLoopback, outside
from support.programs import EVERY

# Without what they want for coverage and colors.
_PLAIN = ("-o", "addopts=", "-o", "filterwarnings=")


class Suite(NamedTuple):
    """The tests of a source distribution."""

    name: str
    version: str
    needs: tuple[str, ...]
    tests: tuple[str, ...]
    """Arguments of pytest."""
    options: tuple[str, ...] = _PLAIN
    """More of them, for whatever tests."""
    files: Mapping[str, int] = {}
    """What the distribution leaves out, and how many bytes it has."""

    def __str__(self) -> str:
        return self.name


SHORT = (
    Suite("waitress", "3.0.2", (), ("tests",)),
    Suite(
        "pyftpdlib",
        "2.2.0",
        ("psutil", "pyopenssl", "pytest-order", "pytest-xdist"),
        # Half the runs of its tests of TLS fail in an OpenSSL that two threads use, or crash there.
        ("tests", "--ignore=tests/test_functional_ssl.py"),
    ),
)
_TRIES = 3
LONG = (
    Suite(
        "aiosmtpd",
        "1.4.6",
        ("pytest-asyncio", "pytest-mock", "setuptools<80"),
        ("aiosmtpd/tests",),
        (
            *_PLAIN,
            *("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"),
        ),
    ),
    # Its clients ask before its server is bound, and again after 5 seconds.
    Suite("tftpy", "0.8.7", (), ("tests/test.py",), files={"tests/640KBFILE": 655360}),
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
    with outside():
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
    found = _both(environment, suite, tmp_path / "all", suite.tests)
    for number in range(_TRIES):
        if not (doubtful := _doubtful(found)):
            break
        # Again, both ways: pyftpdlib's TestCallbacks.test_on_incomplete_file_received is one that
        # fails now and then without the launcher as well, in 2 of 360 runs on a busy machine,
        # although its suite itself tries it several times.
        folder = tmp_path / f"again{number}"
        wanted = [_node(_source(environment, suite), name) for name in doubtful]
        again = _both(environment, suite, folder, wanted)
        for way, outcomes in again.items():
            assert outcomes.keys() == set(doubtful), outcomes
            found[way] |= outcomes
    assert not _doubtful(found), (_doubtful(found), _said(tmp_path, "covered"))
    assert sum(outcome == "passed" for outcome in found["covered"].values()) > 10
    # It was covered, and did listen.
    assert (tmp_path / "all/listing").read_text()
    assert "stays as it is" not in _said(tmp_path, "covered")


def _both(
    environment: Environment, suite: Suite, folder: Path, tests: Sequence[str]
) -> dict[str, dict[str, str]]:
    """What came of tests without the launcher and with it, at the same time; by their names."""
    run = [environment.program("dsadapter"), "run", f"--explain={folder / 'listing'}", "--"]
    ways = {"without": [], "covered": run}
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        running = {
            way: stack.enter_context(_tested(environment, suite, command, tests, folder / way))
            for way, command in ways.items()
        }
        for process in running.values():
            process.wait(800)
    found = {way: _outcomes(folder / way / "report.xml") for way in ways}
    for way, process in running.items():
        failed = any("passed" != how != "skipped" for how in found[way].values())
        assert process.returncode == failed, (folder / way / "output").read_text()[-5000:]
    return found


def _doubtful(found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Tests that have not gone well both ways, and in the same way."""
    without, covered = found["without"], found["covered"]
    return [
        name
        for name in sorted({*without, *covered})
        if without.get(name) != covered.get(name) or without.get(name) not in ("passed", "skipped")
    ]


def _said(folder: Path, way: str) -> str:
    return "".join(path.read_text()[-5000:] for path in sorted(folder.glob(f"*/{way}/output")))


def _node(source: Path, name: str) -> str:
    """What pytest calls a test whose class and name a report tells."""
    plain, bracket, parameters = name.partition("[")
    words = plain.split(".")
    for count in range(len(words), 0, -1):
        file = Path(*words[:count]).with_suffix(".py")
        if (source / file).is_file():
            return "::".join([str(file), *words[count:]]) + bracket + parameters
    raise AssertionError(f"no file of {source} has {name}")


def _source(environment: Environment, suite: Suite) -> Path:
    return environment.path.parent / f"{suite.name}-{suite.version}"


@contextlib.contextmanager
def _tested(
    environment: Environment,
    suite: Suite,
    command: list[str],
    tests: Sequence[str],
    folder: Path,
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
                [*command, *pytest_, report, "--timeout=120", *suite.options, *tests],
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
