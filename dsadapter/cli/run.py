"""``dsadapter run``: start a program so that its listeners serve both families."""

from __future__ import annotations

# Every start under the launcher waits for these.
import errno
import os
import sys
from collections.abc import Iterable

from dsadapter.cli.errors import CommandError
from dsadapter.launcher.folder import foreign_files, writable_by_others
from dsadapter.launcher.program import Program, UnknownProgramError, resolve
from dsadapter.launcher.settings import FOLDER, Settings


def start(words: list[str], settings: Settings | None = None) -> int:
    """Check, say what is covered, and become the program.

    :param words: the program and its arguments.
    :param settings: None for no options.
    :raises CommandError: if it can't.
    """
    settings = Settings() if settings is None else settings
    if not words:
        raise CommandError("name a program: dsadapter run -- PROGRAM [ARGUMENT ...]")
    if place := writable_by_others():
        raise CommandError(
            f"others can write to {place}, and so run code in the program; type: "
            f"{_joined(['chmod', 'go-w', place])}"
        )
    if foreign := foreign_files():
        raise CommandError(f"{foreign[0]!r} doesn't belong in {FOLDER}; remove it")
    try:
        program = resolve(words)
    except UnknownProgramError as error:
        raise CommandError(str(error)) from None
    _check_covered(program, words[0], settings)
    line = f"dsadapter run: {_start_line(settings, words[0], program)}\n"
    sys.stdout.flush()
    sys.stderr.write(line)
    sys.stderr.flush()
    environment = dict(os.environ)
    # What no file says, the process says itself once it has become some Python.
    settings.export(environment, watched=program.python is None)
    try:
        os.execve(program.path, program.argv, environment)
    except OSError as error:
        remedy = (
            "; it has no first line that names its interpreter"
            if error.errno == errno.ENOEXEC
            else ""
        )
        raise CommandError(f"{program.path} can't be run: {error.strerror}{remedy}") from None


def _check_covered(program: Program, name: str, settings: Settings) -> None:
    if program.kept_out:
        raise CommandError(
            f"{program.reason}, and so keeps dsadapter out of {name}; type: "
            f"{_line('dsadapter', settings, program.without_options())}"
        )
    prefix = program.elsewhere()
    if prefix is None or program.python is None:
        return
    command = os.path.join(os.path.dirname(os.path.abspath(program.python)), "dsadapter")
    line = _line(command, settings, [program.path, *program.argv[1:]])
    install = _joined([program.python, "-m", "pip", "install", "dsadapter"])
    first = "" if os.path.exists(command) else f"{install} && "
    raise CommandError(
        f"{name} runs by the Python of {prefix}, and this is the one of {sys.prefix}; "
        f"type: {first}{line}"
    )


def _start_line(settings: Settings, name: str, program: Program) -> str:
    if program.python is None and program.script is not None:
        past = program.past_the_script()
        remedy = _line("dsadapter", settings, past) if past else "name the program that it starts"
        return (
            f"{program.script} is a script for {program.interpreter}: what it starts is covered if "
            f"that runs by the Python of {sys.prefix}; to be sure, "
            f"{f'type: {remedy}' if past else remedy}"
        )
    if program.python is None:
        return (
            f"{name} is no Python program: only Python programs of {sys.prefix} that it starts are "
            f"covered; where a server accepts in another language, wrap its application"
        )
    which = "each listener on ::"
    if settings.only is not None:
        which += f" with port {_numbers(settings.only)}"
    if settings.excepted:
        which += f" but {_numbers(settings.excepted)}"
    if settings.widen:
        which += ", or on 0.0.0.0,"
    return (
        f"{which} that {name} opens in Python serves IPv4 and IPv6, and shows IPv4 peers as IPv4; "
        f"firewall rules for one family don't cover that"
    )


def _numbers(ports: Iterable[int]) -> str:
    return ",".join(map(str, sorted(ports)))


def _line(command: str, settings: Settings, words: list[str]) -> str:
    """A command line to type."""
    return _joined([command, "run", *settings.typed(), "--", *words])


def _joined(words: list[str]) -> str:
    import shlex

    return shlex.join(words)
