"""Text taken apart into settings: a key, and the words of its value with their places.

One mechanism for INI, TOML and YAML: a line with a key begins a setting; what is indented deeper,
stands in an open bracket or is an item of a list goes on with it. No value is interpreted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from dsadapter.migration.findings import Span


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a value, without its quotes."""

    text: str
    span: Span


@dataclass(slots=True)
class Setting:
    """A key and its words.

    :param lines: the first and the last line.
    """

    key: str
    words: list[Word] = field(default_factory=list)
    lines: tuple[int, int] = (1, 1)
    comments: list[tuple[int, int, str]] = field(default_factory=list)


def settings_in(lines: list[str], *, commands: bool = False) -> Iterator[Setting]:
    """The settings of a file, in order.

    :param commands: each line is a command, and a backslash at its end joins the next one to it.
    """
    current: Setting | None = None
    indent, open_brackets, joined = 0, 0, False
    for number, line in enumerate(lines, 1):
        text, comment = _without_comment(line)
        stripped = text.strip()
        depth = len(text) - len(text.lstrip())
        goes_on = current is not None and (
            joined if commands else open_brackets > 0 or depth > indent or stripped.startswith("- ")
        )
        if stripped and not goes_on:
            if current is not None:
                yield current
            key, start = ("", 0) if commands else _key(text)
            current = Setting(key, lines=(number, number))
            indent, open_brackets = depth, 0
        else:
            nested, start = _key(text) if not commands and not open_brackets else ("", 0)
            if nested and current is not None and depth > 0 and not stripped.startswith("- "):
                # A key of its own below another one, as YAML nests them.
                yield current
                current = Setting(nested, lines=(number, number))
                indent = depth
        if current is None:
            current = Setting("", lines=(number, number))
        current.lines = (current.lines[0], number)
        if comment:
            current.comments.append((number, line.index(comment), comment))
        for word in _words(text, start, number):
            current.words.append(word)
        if not commands:
            open_brackets = max(0, open_brackets + _opened(text[start:]))
        joined = stripped.endswith("\\")
    if current is not None:
        yield current


def _without_comment(line: str) -> tuple[str, str]:
    quote = ""
    for place, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "#;" and (place == 0 or line[place - 1].isspace()):
            return line[:place], line[place:]
    return line, ""


def _key(text: str) -> tuple[str, int]:
    """The key that a line begins with, and where its value starts."""
    for place, character in enumerate(text):
        if character == "=" or (character == ":" and text[place + 1 : place + 2] in ("", " ")):
            key = text[:place].strip().removeprefix("- ").strip("\"' ")
            return (
                (key, place + 1)
                if key.replace(".", "").replace("-", "").isidentifier()
                else ("", 0)
            )
        if character in "[{\"'" and text[:place].strip():
            break
    return "", 0


def _words(text: str, start: int, line: int) -> Iterator[Word]:
    place = start
    while place < len(text):
        character = text[place]
        if character.isspace() or character in ",{}":
            place += 1
            continue
        if character in "\"'":
            end = text.find(character, place + 1)
            end = len(text) if end < 0 else end
            value = text[place + 1 : end].replace("\\\\", "\\")
            yield Word(value, Span(line, place, line, end + 1))
            place = end + 1
            continue
        end = place
        while end < len(text) and not text[end].isspace() and text[end] not in ",\"'":
            end += 1
        value = text[place:end]
        offset = place
        if value.startswith("[") and "]" not in value:
            value, offset = value[1:], place + 1
        if value.endswith("]") and "[" not in value:
            value = value[:-1]
        # --option=value
        if value.startswith("-") and "=" in value:
            cut = value.index("=") + 1
            value, offset = value[cut:], offset + cut
        if value not in ("", "-", "\\"):
            yield Word(value, Span(line, offset, line, offset + len(value)))
        place = max(end, place + 1)


def _opened(text: str) -> int:
    """How many brackets a line leaves open, those of IPv6 addresses and quoted ones apart."""
    quote, depth = "", 0
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        else:
            depth += (character == "[") - (character == "]")
    return depth
