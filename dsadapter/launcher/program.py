"""Which file a command line runs, by which Python, and whether the hook gets into it."""

from __future__ import annotations

# Every start under the launcher waits for these.
import os
import sys
from collections.abc import Iterable, Sequence

_WINDOWS = os.name == "nt"
_PYTHONS = ("python", "pythonw", "pypy", "pypyw")
_WHAT_THEY_DO = {
    "I": "isolates Python from PYTHONPATH",
    "E": "has Python ignore PYTHONPATH",
    "S": "has Python import no sitecustomize",
}
# Options that take the next word, and those that end Python's own.
_WITH_VALUE = "WX"
_LAST = "cm"
# What "env" and a long path of pip's or uv's make of a script's first line.
_ENV = "/env"
_EXEC = ("'''exec' ", ' "$0" "$@"')
_LONGEST_LINE = 4096
_MOST_INTERPRETERS = 4


class UnknownProgramError(Exception):
    """There is no such program; the text says what to do."""


class Program:
    """A command line, resolved.

    :param path: the file that the kernel runs.
    :param argv: its arguments, its own name first.
    """

    __slots__ = ("argv", "interpreter", "kept_out", "options", "path", "python", "script")

    python: str | None
    """The interpreter that runs it in the end; None if that is no Python."""
    options: list[str]
    """The interpreter's own, if it is Python."""
    kept_out: str
    """Those of the interpreter's options that keep the hook out, such as ``IE``."""
    interpreter: str
    """The name of what the kernel runs in the end, such as ``bash``."""
    script: str | None
    """The file whose first line names the interpreter."""

    def __init__(self, path: str, argv: Sequence[str]) -> None:
        self.path = path
        self.argv = [*argv]
        self.python = self.script = None
        self.options = []
        self.kept_out = ""
        line = [path, *argv[1:]]
        for _ in range(_MOST_INTERPRETERS):
            interpreter = _first_line(line[0])
            if interpreter is None:
                break
            self.script = line[0]
            line = [*interpreter, *line]
        self.interpreter = os.path.basename(line[0])
        if not _is_python(self.interpreter):
            return
        self.python = line[0]
        self.options = _split(line[1:])[0]
        self.kept_out = _keeping_out(self.options)

    @property
    def reason(self) -> str:
        """What the first of the options that keep the hook out does."""
        return f"-{self.kept_out[0]} {_WHAT_THEY_DO[self.kept_out[0]]}"

    def elsewhere(self) -> str | None:
        """The prefix of the program's Python, if it is not that of this one."""
        if self.python is None:
            return None
        prefix = prefix_of(self.python)
        normal = os.path.normcase
        return None if normal(prefix) == normal(prefix_of(sys.executable)) else prefix

    def past_the_script(self) -> list[str] | None:
        """The command line to type for a script that stands for a Python program, such as pyenv's
        ``python``; None where this environment has no such program."""
        if self.script is None or self.python is not None:
            return None
        name = os.path.basename(self.script)
        if _is_python(name):
            found: str | None = sys.executable
        else:
            found = _beside(sys.executable, name)
        if found is None or found == self.script:
            return None
        between = [] if self.script == self.path else [self.path]
        return [found, *between, *self.argv[1:]]

    def without_options(self) -> list[str]:
        """The command line to type where options keep the hook out."""
        if self.script is not None and self.python is not None:
            return [self.python, self.script, *self.argv[1:]]
        options, rest = _split(self.argv[1:])
        kept = []
        for option in options:
            if option[:1] == "-" and (left := _without(option)) != "-":
                kept.append(left)
            elif option[:1] != "-":
                kept.append(option)
        return [self.argv[0], *kept, *rest]


def resolve(words: Sequence[str], path: str | None = None) -> Program:
    """The program of a command line.

    :param words: a program on PATH or in this environment, a file, a script without permission to
        execute it, or Python's own options, such as ``-m``.
    :param path: where to look; None for PATH.
    :raises UnknownProgramError: if there is none.
    """
    name, *arguments = words
    if name.startswith("-"):
        return Program(sys.executable, [sys.executable, *words])
    if os.path.dirname(name):
        found: str | None = name
        if _WINDOWS and not os.path.exists(name):
            found = _on(os.path.basename(name), [os.path.dirname(name)]) or name
    else:
        found = _on(name, os.get_exec_path() if path is None else path.split(os.pathsep))
        if found is None:
            found = _beside(sys.executable, name)
            name = found or name
    if found is None and os.path.exists(name):
        found = name
    if found is None or not os.path.exists(found):
        raise UnknownProgramError(
            f"there is no program {name!r} on PATH or beside {sys.executable}; name one, a file "
            f"or a module after -m"
        )
    if os.path.isdir(found) or not _can_be_executed(found):
        if os.path.isdir(found) and not os.path.exists(os.path.join(found, "__main__.py")):
            raise UnknownProgramError(f"{found!r} is a folder without __main__.py; name a file")
        if os.path.isfile(found) and not found.endswith((".py", ".pyw", ".pyz", ".pyc")):
            if _WINDOWS:
                from dsadapter.launcher.windows_programs import RUNNABLE

                raise UnknownProgramError(
                    f"{found!r} can't be executed; name a file that Python runs, or one of "
                    f"{', '.join(RUNNABLE)}"
                )
            import shlex

            raise UnknownProgramError(
                f"{found!r} can't be executed; type: chmod +x {shlex.quote(found)}"
            )
        return Program(sys.executable, [sys.executable, found, *arguments])
    return Program(found, [name, *arguments])


def prefix_of(python: str) -> str:
    """``sys.prefix`` of an interpreter, from its path: that of its virtual environment, or of the
    installation that it is."""
    folder = os.path.dirname(os.path.abspath(python))
    for place in (folder, os.path.dirname(folder)):
        if os.path.exists(os.path.join(place, "pyvenv.cfg")):
            return os.path.realpath(place)
    real = os.path.realpath(python)
    base = getattr(sys, "_base_executable", None) or sys.executable
    if real == os.path.realpath(base):
        return os.path.realpath(sys.base_prefix)
    folder = os.path.dirname(real)
    return folder if _WINDOWS else os.path.dirname(folder)


def command_of(python: str) -> str:
    """Where ``dsadapter`` is, or would be, in an interpreter's environment."""
    name = "dsadapter.exe" if _WINDOWS else "dsadapter"
    places = [os.path.join(folder, name) for folder in _scripts_of(python)]
    return next(filter(os.path.exists, places), places[-1])


def _beside(python: str, name: str) -> str | None:
    """A program of an interpreter's environment; None where it has none of the name."""
    return _on(name, _scripts_of(python))


def _scripts_of(python: str) -> list[str]:
    folder = os.path.dirname(os.path.abspath(python))
    return [folder, os.path.join(folder, "Scripts")] if _WINDOWS else [folder]


def _is_python(name: str) -> bool:
    if _WINDOWS:
        name = name.lower().removesuffix(".exe")
    return name.rstrip("0123456789.") in _PYTHONS


def _on(name: str, folders: Iterable[str]) -> str | None:
    names = [name]
    if _WINDOWS:
        from dsadapter.launcher.windows_programs import RUNNABLE

        names = [name + ending for ending in ("", *RUNNABLE)]
    for folder in folders:
        for each in names:
            file = os.path.join(folder, each)
            if os.path.isfile(file) and _can_be_executed(file):
                return file
    return None


def _can_be_executed(file: str) -> bool:
    if _WINDOWS:
        from dsadapter.launcher.windows_programs import RUNNABLE

        return file.lower().endswith(RUNNABLE)
    return os.access(file, os.X_OK)


def _first_line(path: str) -> list[str] | None:
    """The interpreter and its options that a script's first line names."""
    if _WINDOWS:
        from dsadapter.launcher.windows_programs import named_interpreter

        return named_interpreter(path)
    # To open anything else may wait for ever.
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            if file.read(2) != b"#!":
                return None
            first = os.fsdecode(file.readline(_LONGEST_LINE)).strip()
            second = os.fsdecode(file.readline(_LONGEST_LINE)).strip()
    except OSError:
        return None
    if first == "/bin/sh" and second.startswith(_EXEC[0]) and second.endswith(_EXEC[1]):
        return _words(second.removeprefix(_EXEC[0]).removesuffix(_EXEC[1]))
    # The kernel splits once.
    words = first.split(None, 1)
    if not words:
        return None
    if words[0].endswith(_ENV) and len(words) == 2:
        words = _words(words[1])
        while words and (words[0].startswith("-") or "=" in words[0]):
            words.pop(0)
        if not words:
            return None
        words[0] = _on(words[0], os.get_exec_path()) or words[0]
    elif len(words) == 2:
        words[1] = words[1].strip()
    return words


def _words(text: str) -> list[str]:
    import shlex

    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """An interpreter's own options, and the rest: a script, or what -c or -m starts."""
    options: list[str] = []
    rest = [*words]
    while rest and rest[0].startswith("-") and rest[0] not in ("-", "--"):
        if rest[0].startswith("--"):
            options.append(rest.pop(0))
            continue
        own, last = _own(rest[0])
        if last:
            # "-Im" is an option and the beginning of the rest.
            if own:
                options.append(f"-{own}")
            rest[0] = f"-{rest[0][1 + len(own) :]}"
            break
        options.append(rest.pop(0))
        if own[-1:] in _WITH_VALUE and own == options[-1][1:] and rest:
            options.append(rest.pop(0))
    return options, rest


def _own(word: str) -> tuple[str, bool]:
    """The letters of a word that are options, and whether what follows them ends the options."""
    for index, letter in enumerate(word[1:], 1):
        if letter in _LAST:
            return word[1:index], True
        if letter in _WITH_VALUE:
            return word[1 : index + 1], False
    return word[1:], False


def _keeping_out(options: Sequence[str]) -> str:
    found = ""
    for option in options:
        if option.startswith("-") and not option.startswith("--"):
            found += "".join(letter for letter in _own(option)[0] if letter in _WHAT_THEY_DO)
    return found


def _without(option: str) -> str:
    if option.startswith("--"):
        return option
    own = _own(option)[0]
    value = option[1 + len(own) :]
    return "-" + "".join(letter for letter in own if letter not in _WHAT_THEY_DO) + value
