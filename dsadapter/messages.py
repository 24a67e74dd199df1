"""Texts for people: parameters in the spelling of whoever typed them, hostile values kept short."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Self, TypeVar

    E = TypeVar("E", bound=BaseException)

MAX_QUOTED = 100
"""How many characters of a value a text quotes at most."""
MAX_SAID = 500
"""How many characters of another error a text repeats at most."""


class Message(str):
    """A text that names parameters, and can name them in another spelling.

    Below the frameworks a parameter is ``attempt_delay``; a Twisted user typed ``attemptDelay``.

    :param template: as for ``str.format``; a field that no value is given for is the name of a
        parameter.
    :param values: what the other fields stand for. They are never read as templates; a
        :class:`Message` among them is spelled along.
    """

    # A str's subclass can have no slots.
    _template: str
    _values: dict[str, Any]
    _names: Mapping[str, str]

    def __new__(cls, template: str, **values: Any) -> Self:
        """The text with every parameter named as below the frameworks."""
        return cls._made(template, values, {})

    @classmethod
    def _made(cls, template: str, values: dict[str, Any], names: Mapping[str, str]) -> Self:
        shown = {
            key: value.spelled(names) if isinstance(value, Message) else value
            for key, value in values.items()
        }
        self = super().__new__(cls, template.format_map(_Fields(shown, names)))
        self._template = template
        self._values = values
        self._names = names
        return self

    def spelled(self, names: Mapping[str, str]) -> Self:
        """The same text with other names of the parameters.

        :param names: the spelling of each parameter that has another one.
        """
        return self._made(self._template, self._values, names)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self._template, self._values, dict(self._names))


class _Fields:
    def __init__(self, values: dict[str, Any], names: Mapping[str, str]) -> None:
        self._values = values
        self._names = names

    def __getitem__(self, field: str) -> Any:
        if field in self._values:
            return self._values[field]
        return self._names.get(field, field)


def _restored(
    kind: type[Message], template: str, values: dict[str, Any], names: Mapping[str, str]
) -> Message:
    return kind._made(template, values, names)


def spelled(error: E, names: Mapping[str, str]) -> E:
    """A copy of an error whose text has other names of the parameters; the error itself if its
    text names none.

    :param error: one whose arguments hold a :class:`Message`.
    :param names: the spelling of each parameter that has another one.
    """
    if not any(isinstance(argument, Message) for argument in error.args):
        return error
    import copy

    copied = copy.copy(error)
    copied.args = tuple(
        argument.spelled(names) if isinstance(argument, Message) else argument
        for argument in error.args
    )
    if isinstance(copied, OSError) and isinstance(copied.strerror, Message):
        copied.strerror = copied.strerror.spelled(names)
    copied.__cause__ = error.__cause__
    copied.__traceback__ = error.__traceback__
    return copied


def quoted_path(path: str) -> str:
    """A path as an error quotes it: to be copied, so that Windows' backslashes stay single."""
    return repr(path).replace("\\\\", "\\") if os.sep == "\\" else repr(path)


def quoted(value: object) -> str:
    """A value as an error quotes it: its ``repr``, in which no control character is raw, cut where
    it is long; for an object that has none, its class."""
    if isinstance(value, (str, bytes)):
        if len(value) <= MAX_QUOTED:
            return repr(value)
        return f"{value[:MAX_QUOTED]!r}... ({len(value)} characters)"
    try:
        return printable(repr(value))
    except Exception:
        return f"<{type(value).__name__}>"


def said_by(error: BaseException, most: int = MAX_SAID) -> str:
    """What an error of others says, for a line of ours: control characters escaped, cut where it is
    long; empty if it says nothing, or can't."""
    try:
        return printable(str(error), most)
    except Exception:
        return ""


def said_of(error: BaseException) -> str:
    """``KeyError: 'x'``, or the class alone of an error that says nothing; as :func:`said_by`."""
    return ": ".join(filter(None, (type(error).__name__, said_by(error))))


def did_you_mean(name: str, names: Iterable[str], *, likeness: float = 0.6) -> str:
    """What to add to an error about an unknown name: ``; did you mean 'abc'?``, or nothing if none
    of the known ones is like it.

    :param likeness: how like it is to be, 0 to 1; another case of the same letters always is.
    """
    known = list(names)
    close = [each for each in known if each.lower() == name.strip().lower()]
    if not close:
        # Only an error needs it.
        from difflib import get_close_matches

        close = get_close_matches(name[:MAX_QUOTED], known, 1, likeness)
    return f"; did you mean {close[0]!r}?" if close else ""


def printable(text: str, most: int = MAX_QUOTED) -> str:
    """Text of others inside a line of ours: control characters escaped, cut where it is long."""
    shown = text if len(text) <= most else f"{text[:most]}..."
    return shown if shown.isprintable() else "".join(map(_escaped, shown))


def _escaped(character: str) -> str:
    return character if character.isprintable() else repr(character)[1:-1]
