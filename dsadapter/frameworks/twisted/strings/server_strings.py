"""The server endpoint string ``dualstack:``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dsadapter.errors import spelling
from dsadapter.frameworks.twisted.spelling import LISTENING
from dsadapter.frameworks.twisted.strings.option_values import (
    OptionError,
    seconds,
    whole_number,
    yes_or_no,
)
from dsadapter.frameworks.twisted.strings.words import (
    Words,
    explained,
    joined,
    rejoined,
    splits,
    unknown_option,
)
from dsadapter.messages import quoted
from dsadapter.policy import ListenPolicy
from dsadapter.sockets.adopting import inherited_streams

TLS_OPTIONS = ("tls", "privateKey", "certKey", "extraCertChain", "dhParameters")
_INHERITING = ("fd", "systemd")
_OPENING = ("port", "interface", "family", "device", "backlog", "fallback", "reusePort")
_SERVING = ("proxyFrom", "proxyTimeout", "nativeIPv4")
_OPTIONS = (*_OPENING, *_SERVING, *_INHERITING, *TLS_OPTIONS)


def parse_server(words: Words) -> tuple[ListenPolicy, dict[str, str]]:
    """The policy, and the options of TLS, that an endpoint string means.

    :raises ValueError: naming the string, the offending part and the string to type.
    """
    try:
        return _parsed(words)
    except ValueError as error:
        raise explained(error, words, _meant(words)) from error.__cause__


def _parsed(words: Words) -> tuple[ListenPolicy, dict[str, str]]:
    for name in words.options:
        if name not in _OPTIONS:
            raise unknown_option(name, _OPTIONS, "listening")
    if any(name in words.options for name in _INHERITING):
        return _inherited(words), _tls(words.options)
    positional, given = joined(words, "interface", ("port",))
    options: dict[str, Any] = dict(given)
    if positional and "port" in options:
        raise ValueError(
            f"two ports, {quoted(positional[0])} and port={quoted(options['port'])}; give one"
        )
    if len(positional) > 1:
        _refuse_drives(options)
        raise ValueError(
            f"{quoted(':'.join(positional[1:]))} after the port is no option; write options as "
            f"NAME=VALUE, and colons inside a value with a backslash"
        )
    if positional:
        options["port"] = positional[0]
    if "port" not in options:
        raise OptionError("needs a port", "dualstack:8080")
    options["port"] = whole_number("port", options["port"], "dualstack:8080")
    if "backlog" in options:
        options["backlog"] = whole_number(
            "backlog", options["backlog"], "dualstack:8080:backlog=128"
        )
    if "reusePort" in options:
        options["reuse_port"] = yes_or_no("reusePort", options.pop("reusePort"))
    tls, serving = _tls(options), _serving(options)
    opening = {k: v for k, v in options.items() if k not in (*TLS_OPTIONS, *_SERVING)}
    with spelling(LISTENING):
        return ListenPolicy(opening.pop("interface", "::"), **opening, **serving), tls


def _refuse_drives(options: Mapping[str, str]) -> None:
    """Say what cut the path of a file, of which the drive is left: the tokenizer drops its
    backslashes."""
    for name in TLS_OPTIONS:
        drive = options.get(name, "")
        if len(drive) == 1 and drive.isalpha():
            raise ValueError(
                f"{name} is {quoted(drive)} alone, the drive of a path; in an endpoint string a "
                f"backslash goes before its colon, and slashes into the path: "
                f"{name}={drive}\\:/FOLDER/FILE"
            )


def _serving(options: Mapping[str, str]) -> dict[str, Any]:
    """What is done with connections, as a policy has it."""
    serving: dict[str, Any] = {}
    if "proxyFrom" in options:
        serving["proxy_from"] = list(filter(None, options["proxyFrom"].split(",")))
    if "proxyTimeout" in options:
        serving["proxy_timeout"] = seconds("proxyTimeout", options["proxyTimeout"])
    if "nativeIPv4" in options:
        serving["native_ipv4"] = yes_or_no("nativeIPv4", options["nativeIPv4"])
    return serving


def _tls(options: Mapping[str, str]) -> dict[str, str]:
    return {name: options[name] for name in TLS_OPTIONS if name in options}


def _inherited(words: Words) -> ListenPolicy:
    """The policy of sockets that somebody else has opened."""
    given = [name for name in _INHERITING if name in words.options]
    opening = [name for name in _OPENING if name in words.options] or ["port"]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} both say which socket to take over; give one")
    [name] = given
    if words.positional or opening[0] in words.options:
        raise ValueError(
            f"{opening[0]} is for a socket to be opened, and {name} takes over one that is open; "
            f"leave {opening[0]} out"
        )
    numbers = [
        int(item) if item.isascii() and item.isdigit() and len(item) <= 10 else item
        for item in words.options[name].split(",")
    ]
    if (name == "fd" and not all(isinstance(number, int) for number in numbers)) or "" in numbers:
        raise OptionError(
            f"{name} {quoted(words.options[name])} is not "
            + ("the number of a descriptor" if name == "fd" else "an index or a name"),
            f"dualstack:{name}={3 if name == 'fd' else 0}",
        )
    serving = _serving(words.options)
    which: dict[str, Any] = {name: numbers}
    try:
        policy = inherited_streams(**which)
    except OSError as error:
        raise ValueError(str(error.strerror)) from error
    with spelling(LISTENING):
        return replace(policy, **serving)


def _meant(words: Words) -> Words | None:
    """The string that was meant, if it can be told; it is taken by the parser."""
    others = {k: v for k, v in words.options.items() if k not in ("port", "interface")}
    for address, port in splits(words, "interface"):
        interface = {} if address in ("", "::") else {"interface": address}
        meant = Words((port,), {**interface, **others})
        if meant != words and _is_taken(meant):
            return meant
    lists = rejoined(words, ("interface", "proxyFrom"), ("port",))
    return next(filter(_is_taken, lists), None)


def _is_taken(words: Words) -> bool:
    try:
        _policy, tls = _parsed(words)
        if tls:
            from dsadapter.frameworks.twisted.tls import connectionCreatorFromOptions

            connectionCreatorFromOptions(tls)
    except (ImportError, ValueError):
        return False
    return True
