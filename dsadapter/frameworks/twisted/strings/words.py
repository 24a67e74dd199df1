"""The parts of an endpoint string, as Twisted's tokenizer gives them, and strings made of parts.

The tokenizer cuts at every colon that has no backslash, so an IPv6 address comes in pieces; which
positional part stood before which option is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations_with_replacement
from typing import NamedTuple

from twisted.internet.endpoints import quoteStringArgument

from dsadapter.addressing.literal import parse_literal
from dsadapter.frameworks.twisted.strings.option_values import OptionError
from dsadapter.messages import did_you_mean, quoted

PREFIX = "dualstack"
_MAX_SHOWN = 300
_MOST_PIECES = 100
"""Of what somebody may have typed."""
# What people put before an address: other endpoint strings, and URLs.
_SCHEMES = ("tcp", "tcp4", "tcp6", "ssl", "tls", "udp", "http", "https", "ws", "wss", PREFIX)


class Words(NamedTuple):
    """An endpoint string without its prefix."""

    positional: tuple[str, ...]
    options: Mapping[str, str]
    """In the order in which they were typed."""

    def __str__(self) -> str:
        """The string to type, with a backslash where Twisted wants one."""
        return ":".join([PREFIX, *self._parts()])

    def inner(self) -> str:
        """The endpoint string that these are the parts of, its own prefix among them."""
        return ":".join(self._parts())

    def _parts(self) -> list[str]:
        parts = [*map(quoteStringArgument, self.positional)]
        parts += [
            f"{quoteStringArgument(name)}={quoteStringArgument(value)}"
            for name, value in self.options.items()
        ]
        return parts

    def shown(self) -> str:
        """The string as an error shows it: on one line, and not longer than an error may be."""
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(self))
        return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def joined(words: Words, option: str, required: Sequence[str]) -> Words:
    """Take an address that needs no backslashes: that of the last option, whose pieces can belong
    to nothing else, and one in brackets.

    :param option: the one that has an address.
    :param required: the names of the parts that may be positional, in their order.
    :raises ValueError: as :func:`~dsadapter.addressing.literal.parse_literal`.
    """
    positional, options = words
    value = options.get(option)
    if value is None:
        return words
    before = sum(name not in options for name in required)
    pieces: Sequence[str] = ()
    # Another option after it may as well have stood among the pieces.
    if list(options)[-1] == option:
        pieces = positional[before:]
    address = _without_brackets(":".join([value, *pieces]))
    if (not pieces and address == value) or ":" not in address or parse_literal(address) is None:
        return words
    kept = positional[:before] if pieces else positional
    return Words(tuple(kept), {**options, option: address})


def rejoined(words: Words, lists: Sequence[str], required: Sequence[str]) -> Iterator[Words]:
    """The strings that have all pieces behind the required ones in lists of addresses, which were
    cut at their colons.

    :param lists: the names of the options that have such lists.
    :param required: the names of the parts that may be positional, in their order.
    """
    positional, options = words
    before = sum(name not in options for name in required)
    pieces = positional[before:]
    begun = [name for name in options if name in lists]
    if not begun or not 0 < len(pieces) <= _MOST_PIECES:
        return
    # A place to cut between each two of the options, in their order.
    for cuts in combinations_with_replacement(range(len(pieces) + 1), len(begun) - 1):
        bounds = (0, *cuts, len(pieces))
        whole = {
            name: ",".join(
                _without_brackets(item)
                for item in ":".join([options[name], *pieces[start:end]]).split(",")
            )
            for name, start, end in zip(begun, bounds, bounds[1:], strict=False)
        }
        yield Words(positional[:before], {**options, **whole})


def splits(words: Words, option: str) -> list[tuple[str, str]]:
    """The ways to tell a port from an address that was cut at its colons, the likeliest first.

    :param option: the one that has the address; it may be positional instead.
    :returns: pairs of address and port, both as text, cleaned of schemes, brackets and slashes.
    """
    return sorted(_splits(words, option), key=lambda split: not _is_in_use(split[0]))


def _is_in_use(address: str) -> bool:
    """Whether an address is of a range that somebody has: ``8080::`` reads as one, too."""
    try:
        literal = parse_literal(address)
    except ValueError:
        return True
    if literal is None or literal.is_ipv4:
        return True
    first = literal.packed[0]
    # RFC 4291, section 2.4, RFC 4193: global unicast, unique local, link-local, multicast.
    return 0x20 <= first < 0x40 or first >= 0xFC or not any(literal.packed[:8])


def _splits(words: Words, option: str) -> Iterator[tuple[str, str]]:
    positional, options = words
    begun = [options[option]] if option in options else []
    if "port" in options:
        yield cleaned(":".join([*begun, *positional])), options["port"]
        return
    pieces = ":".join(positional).split(":")
    ways = [(pieces[:-1], pieces[-1]), (pieces[1:], pieces[0])]
    if begun:
        ways.reverse()
    for rest, port in ways:
        # int() would take spaces, underscores, signs and other scripts' digits.
        if port.isascii() and port.isdigit():
            address = cleaned(":".join([*begun, *rest]))
            head, colon, tail = address.rpartition(":")
            yield (cleaned(head) if colon and tail == port and "." in head else address), port


def cleaned(address: str) -> str:
    """An address without what people put around it."""
    for _ in range(3):
        head, colon, rest = address.partition(":")
        if colon and head.lower() in _SCHEMES:
            address = rest
        address = address.removeprefix("//")
    address = _without_brackets(address)
    if address.lower() in _SCHEMES or address in ("*", ":"):
        return ""
    host, percent, _zone = address.partition("%")
    try:
        parse_literal(address)
    except ValueError:
        # Its zone is what is wrong with it.
        return host if percent else address
    return address


def unknown_option(name: str, names: Sequence[str], operation: str) -> ValueError:
    """The error about an option that there is not."""
    spaces = " (endpoint strings have no spaces)" if any(c.isspace() for c in name) else ""
    guess = did_you_mean(name, names, likeness=0.75)
    return ValueError(
        f"no option {quoted(name)}{spaces} for {operation}{guess or '; it has '}"
        f"{'' if guess else ', '.join(names)}"
    )


def explained(error: ValueError, words: Words, meant: Words | None) -> ValueError:
    """The error to raise in place of one about a part: it shows the whole string and what to type.

    :param meant: the string that was meant, if it can be told.
    """
    advice = ""
    if meant is not None:
        # A shell takes the backslashes away.
        advice = f"; write '{meant}', in a shell with these quotes"
    elif isinstance(error, OptionError):
        advice = f"; write it as in {error.example!r}"
    return ValueError(f"{words.shown()}: {error}{advice}")


def _without_brackets(address: str) -> str:
    return address[1:-1] if address[:1] == "[" and address[-1:] == "]" else address
