"""``docs/plugins.md``, followed word for word in a fresh environment."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

from support.builds import CHECKOUT, Distributions
from support.environments import PATIENCE, clean_environment, create_environment
from support.namespaces import Namespace, namespace, needs_root, outside
from support.processes import Server, running_command

from dsadapter.hooks import specifications

GUIDE = CHECKOUT / "docs" / "plugins.md"
MINIMAL = CHECKOUT / "examples" / "plugin_minimal"
READY = "starting on 8080"


class Block(NamedTuple):
    """A fenced block: its language, what stands behind that, and its lines."""

    language: str
    info: str
    text: str


def blocks() -> list[Block]:
    found = re.findall(
        r"^```(\w+) ?([^\n]*)\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL
    )
    return [Block(*block) for block in found]


def test_template_is_the_one_of_the_guide() -> None:
    shown = {block.info: block.text for block in blocks()}
    for file in ("dsadapter_minimal.py", "pyproject.toml"):
        assert (MINIMAL / file).read_text() == shown[f"plugin_minimal/{file}"]


def test_the_driver_of_the_guide_is_the_one_that_tests_the_standard_library() -> None:
    shown = {block.info: block.text for block in blocks()}
    driver = CHECKOUT / "tests" / "frameworks" / "drivers" / "blocking_driver.py"
    assert driver.read_text() == shown["tests/blocking_driver.py"]


def test_template_is_under_30_lines() -> None:
    assert len((MINIMAL / "dsadapter_minimal.py").read_text().splitlines()) < 30


class Reader:
    """Does what the guide says, its servers and clients in a network namespace."""

    def __init__(self, folder: Path, program_path: str, place: Namespace) -> None:
        self._folder = folder
        self._place = place
        self._environment = clean_environment(PATH=program_path)
        self._stack = ExitStack()
        self._server: Server | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    def follow(self, block: Block) -> None:
        if block.language == "console":
            for command, expected in _commands(block.text):
                self._type(command, expected)
        elif block.info == "of the server":
            assert self._server is not None
            for line in block.text.splitlines():
                self._server.wait_for_log(line)
        else:
            file = self._folder / block.info
            file.parent.mkdir(exist_ok=True)
            file.write_text(block.text)

    def _type(self, command: str, expected: str) -> None:
        words = shlex.split(command)
        environment = dict(self._environment)
        while re.match(r"[A-Z_]+=", words[0]):
            name, _, environment[name] = words.pop(0).partition("=")
        program = words[0]
        options: dict[str, Any] = {"cwd": self._folder, "env": environment}
        if program in ("twist", "curl"):
            words = [*self._place.prefix, *words]
        if program == "twist":
            self._stack.close()
            self._server = self._stack.enter_context(running_command(words, **options))
            return
        if program == "curl":
            assert self._server is not None
            self._server.wait_for_log(READY)
        with outside():
            done = subprocess.run(
                words,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=PATIENCE,
                **options,
            )
        assert done.returncode == 0, f"{command} failed:\n{done.stdout}"
        assert done.stdout.endswith(expected)


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a block, each with the output that stands under it."""
    for entry in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = entry.partition("\n")
        yield command, expected


@needs_root
def test_following_the_guide(distributions: Distributions, tmp_path: Path) -> None:
    environment = create_environment(tmp_path / "environment", "pip")
    environment.install(distributions.wheel)
    folder = tmp_path / "work"
    folder.mkdir()
    path = f"{environment.path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    with namespace() as place, Reader(folder, path, place) as reader:
        for block in blocks():
            reader.follow(block)


def test_guide_lists_every_hook_with_its_arguments() -> None:
    listed = re.findall(r"^\| `(dsadapter_\w+)\((.*?)\)`", GUIDE.read_text(), re.MULTILINE)
    hooks = {
        name: ", ".join(inspect.signature(function).parameters)
        for name, function in vars(specifications).items()
        if name.startswith("dsadapter_")
    }
    assert dict(listed) == hooks
