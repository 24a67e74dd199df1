from __future__ import annotations

import tarfile
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.builds import DROP_IN, Distributions, build


def names_in_wheel(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())


@pytest.fixture(scope="module")
def wheel_names(distributions: Distributions) -> list[str]:
    return names_in_wheel(distributions.wheel)


@pytest.fixture(scope="module")
def sdist_names(distributions: Distributions) -> list[str]:
    with tarfile.open(distributions.sdist) as archive:
        return [name.partition("/")[2] for name in archive.getnames()]


@pytest.fixture(scope="module")
def metadata(distributions: Distributions) -> PathDistribution:
    name, version, *_ = distributions.wheel.name.split("-")
    return PathDistribution(zipfile.Path(distributions.wheel, f"{name}-{version}.dist-info/"))


def test_wheel_holds_the_package_and_the_drop_in_and_nothing_else(
    distributions: Distributions, wheel_names: list[str]
) -> None:
    ours = {name for name in distributions.files if name.startswith("dsadapter/")}
    drop_in = DROP_IN.removeprefix("plugins/")
    information = {name for name in wheel_names if ".dist-info/" in name}
    assert set(wheel_names) - information == ours | {drop_in}
    assert {name.partition("/")[2] for name in information} == {
        "METADATA",
        "entry_points.txt",
        "RECORD",
        "WHEEL",
        "licenses/LICENSE",
    }


def test_wheel_leaves_the_packages_of_twisted_alone(wheel_names: list[str]) -> None:
    assert [name for name in wheel_names if name.startswith("twisted/")] == [
        "twisted/plugins/dsadapter_endpoints.py"
    ]


def test_wheel_says_that_it_is_typed(wheel_names: list[str]) -> None:
    assert "dsadapter/py.typed" in wheel_names


def test_wheel_is_the_same_from_the_checkout_and_from_the_sdist(
    distributions: Distributions, wheel_names: list[str], tmp_path: Path
) -> None:
    build(distributions.source, tmp_path, "--wheel")
    (wheel,) = tmp_path.iterdir()
    assert names_in_wheel(wheel) == wheel_names


def test_sdist_holds_what_a_build_and_the_tests_need(
    distributions: Distributions, sdist_names: list[str]
) -> None:
    wanted = ("dsadapter/", "plugins/", "tests/", "pyproject.toml", "tox.ini", "README", "LICENSE")
    assert {name for name in distributions.files if name.startswith(wanted)} <= set(sdist_names)


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_leftovers_of_a_run_are_not_shipped(
    distributions: Distributions, wheel_names: list[str], sdist_names: list[str], kind: str
) -> None:
    leftovers = ("dropin.cache", ".pyc")
    assert list(distributions.source.rglob("dropin.cache"))
    names = {"wheel": wheel_names, "sdist": sdist_names}[kind]
    assert [name for name in names if name.endswith(leftovers)] == []


def test_core_requires_three_packages(metadata: PathDistribution) -> None:
    requirements = [Requirement(line) for line in metadata.requires or []]
    core = {canonicalize_name(r.name) for r in requirements if "extra" not in str(r.marker)}
    assert core == {"twisted", "zope-interface", "pluggy"}
    assert [r for r in requirements if r.extras] == []


def test_python_has_a_floor_and_no_cap(metadata: PathDistribution) -> None:
    assert metadata.metadata["Requires-Python"] == ">=3.11"
