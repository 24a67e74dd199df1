"""What a parameter may be: numbers, seconds, words, and what is on or off; checked in one place."""

from __future__ import annotations

import sys

from dsadapter.messages import Message, quoted

DEFAULT_PACKET_SIZE = 8192
LONGEST_PACKET = 65535
"""How many bytes a UDP datagram has at most, and some."""
DEFAULT_TIMEOUT = 30.0
DEFAULT_ATTEMPT_DELAY = 0.25
DEFAULT_PROXY_TIMEOUT = 5.0

WHOLE_NUMBERS = {
    "port": (0, 65535),
    "backlog": (1, 2**31 - 1),
    "max_packet_size": (1, 2**31 - 1),
    "first_address_family_count": (1, 64),
}
"""The least and the greatest value of each parameter that is a whole number."""

SECONDS = {
    "timeout": (0.0, sys.float_info.max),
    # RFC 8305, section 8.
    "attempt_delay": (0.01, 2.0),
    "proxy_timeout": (0.01, sys.float_info.max),
}
"""The same for parameters in seconds."""


def whole_number(name: str, value: int, *, low: int | None = None) -> int:
    """The value itself, if it is a whole number that a parameter may have.

    :param name: a key of :data:`WHOLE_NUMBERS`.
    :param low: the least value here.
    :raises ValueError: naming the value and the range.
    """
    lowest, highest = WHOLE_NUMBERS[name]
    if low is not None:
        lowest = low
    if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest:
        return value
    text = f"{{{name}}} {{value}} is not a whole number from {lowest} to {highest}"
    if isinstance(value, str) and value.isascii() and value.isdigit():
        text = f"{{{name}}} {{value}} is text; give a whole number from {lowest} to {highest}"
    raise ValueError(Message(text, value=quoted(value)))


def yes_or_no(name: str, value: bool) -> None:
    """Check a parameter that is on or off.

    :raises ValueError: for anything but True and False: ``"no"`` is true.
    """
    if not isinstance(value, bool):
        raise ValueError(
            Message(
                f"{{{name}}} {{value}} is neither True nor False; give {{{name}}}=True or False",
                value=quoted(value),
            )
        )


def one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Check a parameter that is one of a few words, the first of which is its default.

    :raises ValueError: naming the value and the choices.
    """
    if value in choices:
        return
    lower = value.lower() if isinstance(value, str) else None
    hint = f"did you mean {lower!r}?" if lower in choices else f"{choices[0]!r} is the default"
    raise ValueError(
        Message(
            f"{{{name}}} {{value}} is none of {', '.join(choices)}; {hint}", value=quoted(value)
        )
    )


def seconds(name: str, value: float) -> None:
    """Check a parameter that is a number of seconds.

    :param name: a key of :data:`SECONDS`.
    :raises ValueError: naming the value and the range.
    """
    low, high = SECONDS[name]
    valid = isinstance(value, (int, float)) and not isinstance(value, bool)
    # A comparison with NaN is false.
    if not (valid and low <= value <= high):
        bounds = f"from {low:g}" + (f" to {high:g}" if high < sys.float_info.max else "")
        raise ValueError(
            Message(
                f"{{{name}}} {{value}} is not a number of seconds {bounds}", value=quoted(value)
            )
        )
