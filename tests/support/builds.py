"""The project's distributions, built from what is under version control."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support.environments import Environment, clean_environment, create_environment

CHECKOUT = Path(__file__).parents[2]
DROP_IN = "plugins/twisted/plugins/dsadapter_endpoints.py"

# What is lying around in a checkout that someone works in.
_NOT_OURS = shutil.ignore_patterns(
    ".git", ".venv", ".tox", ".*_cache", ".hypothesis", "__pycache__", "dropin.cache",
    "_trial_temp*", "build", "dist", "*.egg-info",
)  # fmt: skip


@dataclass(frozen=True)
class Distributions:
    """What was built, and the tree that it was built from."""

    source: Path
    files: frozenset[str]
    sdist: Path
    wheel: Path


def copy_checkout(destination: Path) -> frozenset[str]:
    """Copy the files under version control to a new folder and return their names.

    An unpacked archive knows of no version control: there, every file but leftovers counts.
    """
    if (CHECKOUT / ".git").exists() and shutil.which("git"):
        # Git would refuse to list a checkout that belongs to another user.
        command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
        listing = subprocess.run(
            command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=True
        )
        for name in listing.stdout.split("\0"):
            # A file may be deleted and its deletion not be committed yet.
            if name and (CHECKOUT / name).is_file():
                (destination / name).parent.mkdir(parents=True, exist_ok=True)
                # Not copy2: installers judge by the time of a file whether they know it already.
                shutil.copy(CHECKOUT / name, destination / name)
    else:
        shutil.copytree(CHECKOUT, destination, ignore=_NOT_OURS, copy_function=shutil.copy)
    return frozenset(
        path.relative_to(destination).as_posix()
        for path in destination.rglob("*")
        if path.is_file()
    )


def build(source: Path, destination: Path, *options: str) -> None:
    """Build the tree in ``source``: a source distribution and, from it, a wheel.

    The build backend is the one of the test environment, so that this needs no package index.
    """
    command = [sys.executable, "-m", "build", "--no-isolation", *options]
    result = subprocess.run(
        [*command, "--outdir", str(destination), str(source)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=clean_environment(),
        # The project's folder may hold a folder "build", which -m would take.
        cwd=source.parent,
    )
    assert result.returncode == 0, result.stdout


def build_distributions(folder: Path) -> Distributions:
    """Build a copy of the checkout that has the leftovers of a run of Twisted in it."""
    source = folder / "source"
    files = copy_checkout(source)
    drop_in = source / DROP_IN
    (drop_in.parent / "dropin.cache").write_bytes(b"left behind")
    (drop_in.parent / "__pycache__").mkdir()
    (drop_in.parent / "__pycache__" / "dsadapter_endpoints.cpython-311.pyc").write_bytes(b"old")
    build(source, folder / "dist")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    return Distributions(source, files, sdist, wheel)


def environment_with(plugin: str, distributions: Distributions, folder: Path) -> Environment:
    """An environment with the project and what one of its folders builds.

    :param plugin: the folder, below the source.
    """
    build(distributions.source / plugin, folder, "--wheel")
    (wheel,) = folder.glob("*.whl")
    made = create_environment(folder / "environment", "uv")
    made.install(distributions.wheel, wheel)
    return made
