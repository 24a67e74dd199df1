"""Says which Python child of a covered process will not be covered, and what to do about it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from dsadapter.command_lines import joined
from dsadapter.launcher.coverage import path_file
from dsadapter.launcher.program import UnknownProgramError, resolve
from dsadapter.launcher.report import say
from dsadapter.launcher.settings import FOLDER, STAMP


def say_if_uncovered(event: str, arguments: tuple[Any, ...]) -> None:
    """Look at a process that is about to start.

    :param event: the audit event, with its arguments.
    """
    if event == "os.exec":
        for name in ("guarding", "listing"):
            reporting: Any = sys.modules.get(f"dsadapter.launcher.{name}")
            if reporting is not None:
                reporting.before_exec()
    if event == "subprocess.Popen":
        path, words, _folder, environment = arguments
    elif event == "os.spawn":
        _mode, path, words, environment = arguments
    else:
        path, words, environment = arguments
    line = _texts(words)
    if not line:
        return
    if path is not None:
        line[0] = os.fsdecode(path)
    try:
        program = resolve(line)
    except (UnknownProgramError, OSError):
        return
    if program.python is None or program.elsewhere() is not None:
        # What is no Python of ours is not covered, and is not expected to be.
        return
    shown = joined([os.path.basename(line[0]), *line[1:3]])
    if program.kept_out:
        say(f"a child is not covered: {shown}: {program.reason}; start it without that option")
        return
    if file := path_file(program.python):
        say(f"a child is not covered: {shown}: {file} has Python ignore PYTHONPATH; remove it")
        return
    if environment is None:
        _come_first()
    if (problem := _problem(_environment(environment))) is not None:
        say(f"a child is not covered: {shown}: {problem}")


def _come_first() -> None:
    """Agents put a folder of theirs first, and not all of them run the next ``sitecustomize``, as
    ours does."""
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if FOLDER in folders[1:]:
        others = [folder for folder in folders if folder != FOLDER]
        os.environ["PYTHONPATH"] = os.pathsep.join([FOLDER, *others])


def _problem(environment: Mapping[str, str]) -> str | None:
    folders = environment.get("PYTHONPATH", "").split(os.pathsep)
    if FOLDER not in folders or STAMP not in environment:
        return (
            f"its environment leaves out PYTHONPATH or {STAMP}; pass both on, or start it by "
            f"dsadapter run"
        )
    for folder in folders[: folders.index(FOLDER)]:
        if os.path.exists(os.path.join(folder, "sitecustomize.py")):
            return (
                f"{folder} is before dsadapter's in PYTHONPATH, and may hide it; start dsadapter "
                f"run by that program, and not the other way round"
            )
    return None


def _environment(given: Any) -> Mapping[str, str]:
    if given is None:
        return os.environ
    if isinstance(given, Mapping):
        return {os.fsdecode(name): os.fsdecode(value) for name, value in given.items()}
    pairs = (os.fsdecode(entry).partition("=") for entry in given)
    return {name: value for name, _, value in pairs}


def _texts(words: Any) -> list[str]:
    if os.name == "nt" and isinstance(words, str):
        # A command line already.
        from dsadapter.launcher.windows_programs import split_command_line

        return split_command_line(words)
    if isinstance(words, (str, bytes, os.PathLike)):
        return [os.fsdecode(words)]
    if not isinstance(words, Sequence):
        return []
    return [os.fsdecode(word) for word in words]
