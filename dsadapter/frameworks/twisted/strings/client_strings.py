"""The client endpoint string ``dualstack:``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from dsadapter.errors import spelling
from dsadapter.frameworks.twisted.spelling import CONNECTING
from dsadapter.frameworks.twisted.strings.option_values import (
    OptionError,
    seconds,
    whole_number,
    yes_or_no,
)
from dsadapter.frameworks.twisted.strings.server_strings import TLS_OPTIONS
from dsadapter.frameworks.twisted.strings.words import (
    Words,
    explained,
    joined,
    splits,
    unknown_option,
)
from dsadapter.messages import quoted
from dsadapter.policy import (
    DEFAULT_ATTEMPT_DELAY,
    DEFAULT_TIMEOUT,
    ConnectPolicy,
    canonical_target,
)
from dsadapter.sockets.connecting import check_target

_OPTIONS = (
    "host",
    "port",
    "timeout",
    "bindAddress",
    "attemptDelay",
    "firstAddressFamilyCount",
    "rememberOutcomes",
    "mappedAddresses",
    "lookup",
)
_REQUIRED = ("host", "port")


def parse_client(words: Words) -> tuple[tuple[str, int], ConnectPolicy]:
    """Target and policy that an endpoint string means.

    :raises ValueError: naming the string, the offending part and the string to type.
    """
    try:
        return _parsed(words)
    except ValueError as error:
        raise explained(error, words, _meant(words)) from error.__cause__


def _parsed(words: Words) -> tuple[tuple[str, int], ConnectPolicy]:
    for name in words.options:
        if name in TLS_OPTIONS:
            raise ValueError(
                f"{name} is for listening; connect over TLS with "
                f"'tls:HOST:PORT:endpoint=dualstack\\:HOST\\:PORT', or with wrapClientTLS around "
                f"the endpoint"
            )
        if name not in _OPTIONS:
            raise unknown_option(name, _OPTIONS, "connecting")
    for option in ("host", "bindAddress"):
        words = joined(words, option, _REQUIRED)
    options = {**_positional(words), **words.options}
    with spelling(CONNECTING):
        policy = ConnectPolicy(
            timeout=seconds("timeout", options.get("timeout", f"{DEFAULT_TIMEOUT:g}")),
            bind_address=options.get("bindAddress"),
            attempt_delay=seconds(
                "attemptDelay", options.get("attemptDelay", f"{DEFAULT_ATTEMPT_DELAY:g}")
            ),
            first_address_family_count=whole_number(
                "first_address_family_count",
                options.get("firstAddressFamilyCount", "1"),
                "dualstack:example.com:80:firstAddressFamilyCount=2",
                name="firstAddressFamilyCount",
            ),
            remember_outcomes=yes_or_no("rememberOutcomes", options.get("rememberOutcomes", "yes")),
            mapped_addresses=cast("Any", options.get("mappedAddresses", "unmap")),
            lookup=cast("Any", options.get("lookup", "joint")),
        )
        port = whole_number("port", options["port"], "dualstack:example.com:80", low=1)
        target = canonical_target(options["host"], port)
        check_target(target[0], policy.bind_address)
        return target, policy


def _positional(words: Words) -> dict[str, str]:
    missing = [name for name in _REQUIRED if name not in words.options]
    given = words.positional
    if len(given) < len(missing):
        raise OptionError(
            f"needs {' and '.join(missing[len(given) :])}", "dualstack:example.com:80"
        )
    if len(given) > len(missing):
        raise ValueError(
            f"{quoted(':'.join(given[len(missing) :]))} after host and port is no option; write "
            f"options as NAME=VALUE, and colons inside a value with a backslash"
        )
    return dict(zip(missing, given, strict=True))


def _meant(words: Words) -> Words | None:
    """The string that was meant, if it can be told; it is taken by the parser."""
    for meant in _meanings(words):
        if meant != words and _is_taken(meant):
            return meant
    return None


def _meanings(words: Words) -> Iterator[Words]:
    others = {k: v for k, v in words.options.items() if k not in _REQUIRED}
    for host, port in splits(words, "host"):
        yield Words((host, port), others)
    if "bindAddress" not in others:
        return
    missing = [name for name in _REQUIRED if name not in words.options]
    named = {**words.options, **dict(zip(missing, words.positional, strict=False))}
    if not named.keys() >= set(_REQUIRED):
        return
    pieces = [others["bindAddress"], *words.positional[len(missing) :]]
    address = ":".join(pieces).strip("[]")
    yield Words((named["host"], named["port"]), {**others, "bindAddress": address})


def _is_taken(words: Words) -> bool:
    try:
        _parsed(words)
    except ValueError:
        return False
    return True
