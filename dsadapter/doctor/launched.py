"""A program's chance under ``dsadapter run``: which Python it is, and whether the hook gets in."""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import PackageNotFoundError, version

from dsadapter.command_lines import joined, pip
from dsadapter.doctor.findings import Check, Finding, Question
from dsadapter.doctor.installed import is_older
from dsadapter.launcher.coverage import NotCoveredError, covered, doubtful, run_line
from dsadapter.launcher.guards import out_of_reach
from dsadapter.launcher.program import Program
from dsadapter.launcher.settings import Settings
from dsadapter.launcher.table import GROUPS

_PATIENCE = 8.0
_COVERED = "covered"
_LOOK = (
    "import sys; "
    f"print({_COVERED!r} if any(type(f).__name__ == 'Watcher' for f in sys.meta_path) else 'not')"
)
_WRAP = "app = dsadapter.asgi.CanonicalAddresses(app)"


def _program(question: Question) -> list[Finding]:
    words, settings = question.program, Settings()
    name = os.path.basename(words[0]) if words[0][:1] != "-" else " ".join(words[:2])
    try:
        program = covered(words, settings)
    except NotCoveredError as error:
        return [Finding("problem", error.reason, error.typed, name)]
    elsewhere = _elsewhere(program)
    if elsewhere is not None:
        return [Finding("problem", f"{elsewhere} {out_of_reach(elsewhere)}", _WRAP, name)]
    doubt = doubtful(program, words[0], settings)
    if doubt is not None:
        return [Finding("advice", doubt.reason, doubt.typed, name)]
    told = _tried(program, settings)
    if told != _COVERED:
        return [
            Finding(
                "problem",
                f"the hook does not get into its Python, {program.python}: {told}",
                joined([str(program.python), *program.options, "-v", "-c", "0"]),
                name,
            )
        ]
    line = run_line("dsadapter", settings, words)
    return [Finding("ok", "it would be covered", line, name, program.path), *_untested()]


def _elsewhere(program: Program) -> str | None:
    """The server that a command line starts, if it accepts where nothing reaches."""
    unreachable = {group.name for group in GROUPS if group.guard and "elsewhere" in group.guard}
    rest = [program.path, *program.argv[1:]]
    for index, word in enumerate(rest):
        module = index > 0 and rest[index - 1] == "-m"
        if (index == 0 or module) and os.path.basename(word) in unreachable:
            return os.path.basename(word)
    return None


def _tried(program: Program, settings: Settings) -> str:
    """What the program's own Python says when it starts with the hook, and runs nothing else."""
    environment = dict(os.environ)
    settings.export(environment)
    assert program.python is not None
    try:
        done = subprocess.run(
            [program.python, *program.options, "-c", _LOOK],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it starts for longer than {_PATIENCE:g} s"
    except OSError as error:
        return f"it can't be run: {error.strerror}"
    last = (done.stdout or done.stderr).strip().splitlines()[-1:]
    return last[0] if last and last[0] != "not" else "another sitecustomize may come first"


def _untested() -> list[Finding]:
    """What is installed in another version than the table of ``run`` is tested with."""
    findings = []
    for group in GROUPS:
        if group.tested is None:
            continue
        try:
            here = version(group.name)
        except PackageNotFoundError:
            continue
        oldest, newest = group.tested
        # Its newest release's patches are as tested as itself.
        if is_older(here, oldest) or is_older(newest, ".".join(here.split(".")[:2])):
            findings.append(
                Finding(
                    "advice",
                    f"{here} is not among the releases that 'dsadapter run' is tested with, "
                    f"{oldest} to {newest}",
                    pip("python", "install", f"{group.name}~={newest}"),
                    group.name,
                )
            )
    return findings


CHECKS = (Check("program", "program", _program, 20.0),)
