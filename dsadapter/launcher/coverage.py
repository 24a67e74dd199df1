"""Whether a command line can be run so that the hook gets into it, and what to type where not."""

from __future__ import annotations

# Every start under the launcher waits for these.
import os
import sys

from dsadapter.command_lines import joined, pip
from dsadapter.launcher.folder import foreign_files, writable_by_others
from dsadapter.launcher.program import Program, UnknownProgramError, command_of, resolve
from dsadapter.launcher.settings import FOLDER, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class NotCoveredError(Exception):
    """The hook can't get into a program.

    :param reason: why, in a line.
    :param typed: what to type about it; empty where the reason says it all.
    :param before: what comes between the two.
    """

    def __init__(self, reason: str, typed: str = "", before: str = "type") -> None:
        super().__init__(f"{reason}; {before}: {typed}" if typed else reason)
        self.reason = reason
        self.typed = typed


def covered(words: Sequence[str], settings: Settings) -> Program:
    """The program of a command line, which is covered if it is Python.

    :raises NotCoveredError: if it can't be, or is not there.
    """
    if place := writable_by_others():
        raise NotCoveredError(
            f"others can write to {place}, and so run code in the program",
            joined(["chmod", "go-w", place]),
        )
    if foreign := foreign_files():
        raise NotCoveredError(f"{foreign[0]!r} doesn't belong in {FOLDER}; remove it")
    try:
        program = resolve(words)
    except UnknownProgramError as error:
        raise NotCoveredError(str(error)) from None
    name = words[0]
    if program.kept_out:
        raise NotCoveredError(
            f"{program.reason}, and so keeps dsadapter out of {name}",
            run_line("dsadapter", settings, program.without_options()),
        )
    if program.python is not None and (file := path_file(program.python)):
        raise NotCoveredError(
            f"{file} has Python ignore PYTHONPATH, and so keeps dsadapter out of {name}; remove it"
        )
    prefix = program.elsewhere()
    if prefix is None or program.python is None:
        return program
    command = command_of(program.python)
    line = run_line(command, settings, [program.path, *program.argv[1:]])
    install = pip(program.python, "install", "dsadapter")
    first = "" if os.path.exists(command) else f"{install} && "
    raise NotCoveredError(
        f"{name} runs by the Python of {prefix}, and this is the one of {sys.prefix}",
        f"{first}{line}",
    )


def doubtful(program: Program, name: str, settings: Settings) -> NotCoveredError | None:
    """What there is to say of a program that runs, and that no file tells to be Python; else
    None."""
    if program.python is not None:
        return None
    if program.script is None and os.name == "nt":
        return NotCoveredError(
            f"{name} names no Python: only Python programs of {sys.prefix} that it starts are "
            f"covered; where a server accepts in another language, wrap its application"
        )
    if program.script is None:
        return NotCoveredError(
            f"{name} is no Python program: only Python programs of {sys.prefix} that it starts are "
            f"covered; where a server accepts in another language, wrap its application"
        )
    past = program.past_the_script()
    reason = (
        f"{program.script} is a script for {program.interpreter}: what it starts is covered if "
        f"that runs by the Python of {sys.prefix}"
    )
    if past is None:
        return NotCoveredError(f"{reason}; to be sure, name the program that it starts")
    return NotCoveredError(reason, run_line("dsadapter", settings, past), "to be sure, type")


def path_file(python: str) -> str | None:
    """The file beside an interpreter that takes the place of PYTHONPATH, on Windows; None for
    none."""
    if os.name != "nt":
        return None
    folder = os.path.dirname(os.path.abspath(python))
    found = [name for name in os.listdir(folder) if name.lower().endswith("._pth")]
    return os.path.join(folder, found[0]) if found else None


def run_line(command: str, settings: Settings, words: Sequence[str]) -> str:
    """A command line of ``dsadapter run`` to type."""
    return joined([command, "run", *settings.typed(), "--", *words])
