"""The values of endpoint string options."""

from __future__ import annotations

import re

from dsadapter.errors import RestorableError
from dsadapter.messages import quoted
from dsadapter.policy import WHOLE_NUMBERS

_YES = ("yes", "true", "1")
_NO = ("no", "false", "0")


class OptionError(RestorableError, ValueError):
    """What is wrong with an option.

    :param example: an endpoint string that has it right.
    """

    def __init__(self, reason: str, example: str) -> None:
        super().__init__(reason)
        self.example = example


def whole_number(
    parameter: str, text: str, example: str, *, name: str | None = None, low: int | None = None
) -> int:
    """The value of an option that is a whole number.

    :param parameter: a key of :data:`dsadapter.policy.WHOLE_NUMBERS`.
    :param name: the option, if it has another name.
    :param low: the least value here.
    :raises OptionError: naming the option, the value and the form to use.
    """
    lowest, highest = WHOLE_NUMBERS[parameter]
    if low is not None:
        lowest = low
    # int() would take spaces, underscores, signs and other scripts' digits.
    digits = text.isascii() and text.isdigit() and len(text) <= 10
    if digits and lowest <= int(text) <= highest:
        return int(text)
    raise OptionError(
        f"{name or parameter} {quoted(text)} is not a whole number from {lowest} to "
        f"{highest}{spaces_hint(text)}",
        example,
    )


def yes_or_no(name: str, text: str) -> bool:
    """The value of an option that is on or off.

    :raises ValueError: naming the option, the value and the form to use.
    """
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ValueError(
        f"{name} {quoted(text)} is neither yes nor no{spaces_hint(text)}; "
        f"write {name}=yes or {name}=no"
    )


def seconds(name: str, text: str) -> float:
    """The value of an option that is a number of seconds.

    :raises ValueError: naming the option, the value and the form to use.
    """
    # float() would take signs, exponents, "nan", other scripts' digits.
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return float(text)
    raise ValueError(f"{name} {quoted(text)} is not a number of seconds such as 10 or 0.25")


def spaces_hint(text: str) -> str:
    """What to add to an error about a text with spaces."""
    return " (endpoint strings have no spaces)" if any(c.isspace() for c in text) else ""
