"""``dsadapter run``: start a program so that its listeners serve both families."""

from __future__ import annotations

# Every start under the launcher waits for these.
import errno
import os
import sys
from collections.abc import Iterable

from dsadapter.cli.errors import CommandError
from dsadapter.launcher.coverage import NotCoveredError, covered, doubtful
from dsadapter.launcher.program import Program
from dsadapter.launcher.report import say_lines
from dsadapter.launcher.settings import Settings
from dsadapter.launcher.starting import start as run_program


def start(words: list[str], settings: Settings | None = None) -> int:
    """Check, say what is covered, and become the program, or wait for it.

    :param words: the program and its arguments.
    :param settings: None for no options.
    :returns: its exit status, where this process can't become it.
    :raises CommandError: if it can't.
    """
    settings = Settings() if settings is None else settings
    if lacking := settings.lacking():
        raise CommandError(f"{lacking} needs what sockets lack on this platform; leave it away")
    if not words:
        raise CommandError("name a program: dsadapter run -- PROGRAM [ARGUMENT ...]")
    try:
        program = covered(words, settings)
    except NotCoveredError as error:
        raise CommandError(str(error)) from None
    sys.stdout.flush()
    say_lines([_start_line(settings, words[0], program)])
    environment = dict(os.environ)
    # What no file says, the process says itself once it has become some Python.
    settings.export(environment, watched=program.python is None)
    try:
        return run_program(program.path, program.argv, environment)
    except OSError as error:
        remedy = ""
        if error.errno == errno.ENOEXEC:
            remedy = "; it has no first line that names its interpreter"
        elif error.errno == errno.ENOENT and program.script is not None:
            remedy = f"; the first line of {program.script} names an interpreter that is not there"
        raise CommandError(f"{program.path} can't be run: {error.strerror}{remedy}") from None


def _start_line(settings: Settings, name: str, program: Program) -> str:
    if doubt := doubtful(program, name, settings):
        return str(doubt)
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
