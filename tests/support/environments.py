"""Fresh virtual environments, made and filled with pip or with uv."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from support.namespaces import outside

Installer = Literal["pip", "uv"]
INSTALLERS: tuple[Installer, ...] = ("pip", "uv")

PATIENCE = 240.0
"""Seconds to wait for an installer: a deadline for a broken package index."""


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment variables without those that bend Python, as a new user has them."""
    variables = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") and name != "VIRTUAL_ENV"
    }
    # Nothing that a test serves is to be fetched through somebody's proxy.
    bypass = "localhost,127.0.0.1,::1"
    variables["no_proxy"] = ",".join(filter(None, [variables.get("no_proxy"), bypass]))
    variables["PYTHONUNBUFFERED"] = "1"
    return variables | extra


def open_to_everybody(folder: Path) -> None:
    """Let other users into a temporary folder, which pytest keeps to itself."""
    while folder != Path(tempfile.gettempdir()):
        folder.chmod(0o755)
        folder = folder.parent


@dataclass(frozen=True)
class Environment:
    """A virtual environment and the installer that looks after it."""

    path: Path
    installer: Installer

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        (folder,) = self.path.glob("lib/python*/site-packages")
        return folder

    @property
    def plugins(self) -> Path:
        """The folder in which Twisted keeps its plugins and their cache."""
        return self.site_packages / "twisted" / "plugins"

    def program(self, name: str) -> str:
        return str(self.path / "bin" / name)

    def install(self, *requirements: str | Path) -> None:
        self._manage("install", *map(str, requirements))

    def uninstall(self, name: str) -> None:
        # uv asks nothing.
        self._manage("uninstall", *(["--yes"] if self.installer == "pip" else []), name)

    def distributions(self) -> set[str]:
        """The names of what is installed."""
        return {entry["name"].lower().replace("_", "-") for entry in self._listing()}

    def run(self, *args: str | Path, **kwargs: Any) -> str:
        """Run Python, isolated from the current folder; return its output."""
        return _run([str(self.python), "-I", *map(str, args)], **kwargs)

    def query(self, *args: str | Path, **kwargs: Any) -> Any:
        """Run a script that prints JSON and return what it says."""
        return json.loads(self.run(*args, stderr=None, **kwargs))

    def _listing(self) -> list[dict[str, str]]:
        listing: list[dict[str, str]] = json.loads(
            _run([*self._installer("list"), "--format=json"], stderr=None)
        )
        return listing

    def _manage(self, verb: str, *args: str) -> None:
        with outside():
            _run([*self._installer(verb), *args])

    def _installer(self, verb: str) -> list[str]:
        if self.installer == "pip":
            return [str(self.python), "-m", "pip", verb, "--disable-pip-version-check"]
        return [sys.executable, "-m", "uv", "pip", verb, "--python", str(self.python)]


def create_environment(path: Path, installer: Installer) -> Environment:
    """An empty environment with this interpreter; one of uv's has no pip in it."""
    if installer == "pip":
        _run([sys.executable, "-m", "venv", str(path)])
    else:
        _run([sys.executable, "-m", "uv", "venv", "--python", sys.executable, str(path)])
    return Environment(path, installer)


def _run(argv: list[str], **kwargs: Any) -> str:
    options: dict[str, Any] = {"env": clean_environment(), "stderr": subprocess.STDOUT}
    # Not in the checkout, whose folder would be found first.
    options["cwd"] = "/"
    result: subprocess.CompletedProcess[str] = subprocess.run(
        argv, stdout=subprocess.PIPE, text=True, timeout=PATIENCE, **(options | kwargs)
    )
    assert result.returncode == 0, f"{argv} failed:\n{result.stdout}"
    return result.stdout
