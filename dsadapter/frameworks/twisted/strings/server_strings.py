"""The server endpoint string ``dualstack:``."""

from __future__ import annotations

from typing import Any

from dsadapter.frameworks.twisted.spelling import LISTENING, spelling
from dsadapter.frameworks.twisted.strings.option_values import OptionError, whole_number, yes_or_no
from dsadapter.frameworks.twisted.strings.words import (
    Words,
    explained,
    joined,
    splits,
    unknown_option,
)
from dsadapter.messages import quoted
from dsadapter.policy import ListenPolicy

TLS_OPTIONS = ("tls", "privateKey", "certKey", "extraCertChain", "dhParameters")
_OPTIONS = ("port", "interface", "family", "backlog", "fallback", "reusePort", *TLS_OPTIONS)


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
    positional, given = joined(words, "interface", ("port",))
    options: dict[str, Any] = dict(given)
    if positional and "port" in options:
        raise ValueError(
            f"two ports, {quoted(positional[0])} and port={quoted(options['port'])}; give one"
        )
    if len(positional) > 1:
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
    tls = {name: options.pop(name) for name in TLS_OPTIONS if name in options}
    with spelling(LISTENING):
        return ListenPolicy(options.pop("interface", "::"), **options), tls


def _meant(words: Words) -> Words | None:
    """The string that was meant, if it can be told; it is taken by the parser."""
    others = {k: v for k, v in words.options.items() if k not in ("port", "interface")}
    for address, port in splits(words, "interface"):
        interface = {} if address in ("", "::") else {"interface": address}
        meant = Words((port,), {**interface, **others})
        if meant != words and _is_taken(meant):
            return meant
    return None


def _is_taken(words: Words) -> bool:
    try:
        _policy, tls = _parsed(words)
        if tls:
            from dsadapter.frameworks.twisted.tls import connectionCreatorFromOptions

            connectionCreatorFromOptions(tls)
    except (ImportError, ValueError):
        return False
    return True
