"""The options of the client endpoint string ``dualstack:``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from twisted.internet.endpoints import quoteStringArgument

from dsadapter.addressing.text import unmap_text
from dsadapter.frameworks.twisted.spelling import CONNECTING, spelling
from dsadapter.frameworks.twisted.strings.option_values import cut_literal, whole_number, yes_or_no
from dsadapter.messages import quoted
from dsadapter.policy import (
    DEFAULT_ATTEMPT_DELAY,
    DEFAULT_TIMEOUT,
    ConnectPolicy,
    canonical_target,
)

_OPTIONS = (
    "host",
    "port",
    "timeout",
    "bindAddress",
    "attemptDelay",
    "firstAddressFamilyCount",
    "rememberOutcomes",
    "mappedAddresses",
)
_FORM = "'dualstack:example.com:80' or 'dualstack:host=example.com:port=80'"


def client_options(
    args: Sequence[str], kwargs: Mapping[str, str]
) -> tuple[tuple[str, int], ConnectPolicy]:
    """Target and policy for the parts of an endpoint string, as Twisted's tokenizer gives them.

    :raises ValueError: naming the offending part and the form to use.
    """
    _refuse_unescaped_literal(args, kwargs)
    for name in kwargs:
        if name not in _OPTIONS:
            raise ValueError(
                f"dualstack: has no option {name!r} for connecting; it has {', '.join(_OPTIONS)}"
            )
    options = {**_positional(args, kwargs), **kwargs}
    with spelling(CONNECTING):
        policy = ConnectPolicy(
            timeout=_seconds("timeout", options.get("timeout", f"{DEFAULT_TIMEOUT:g}")),
            bind_address=options.get("bindAddress"),
            attempt_delay=_seconds(
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
        )
        return canonical_target(options["host"], _port(options["port"])), policy


def _positional(args: Sequence[str], kwargs: Mapping[str, str]) -> dict[str, str]:
    missing = [name for name in ("host", "port") if name not in kwargs]
    if len(args) < len(missing):
        raise ValueError(f"dualstack: needs {' and '.join(missing[len(args) :])}, as in {_FORM}")
    if len(args) > len(missing):
        raise ValueError(
            f"dualstack: does not take {args[len(missing)]!r} beside host and port; options are "
            f"written NAME=VALUE, as in 'dualstack:example.com:80:timeout=10'"
        )
    return dict(zip(missing, args, strict=True))


def _port(text: str) -> int:
    return whole_number("port", text, "dualstack:example.com:80", low=1)


def _seconds(name: str, text: str) -> float:
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return float(text)
    raise ValueError(
        f"dualstack: {name} {quoted(text)} is not a number of seconds such as 10 or 0.25"
    )


def _refuse_unescaped_literal(args: Sequence[str], kwargs: Mapping[str, str]) -> None:
    """Recognise ``dualstack:::1:80``, ``dualstack:[::1]:80`` and ``host=::1``, whose colons Twisted
    took for separators, and show what to type."""
    for option in ("host", "bindAddress"):
        begun = [kwargs[option]] if option in kwargs else []
        for rest, parts in _splits(option, args, kwargs):
            cut = cut_literal([*begun, *parts])
            if cut is not None:
                literal, bare = cut
                slip = "brackets" if bare is not literal else "colons that need a backslash"
                words = {**kwargs, **rest, option: unmap_text(bare)}
                # No repr: it would double the backslashes that have to be typed.
                raise ValueError(f"dualstack: {literal} has {slip}; write {_description(words)}")


def _splits(
    option: str, args: Sequence[str], kwargs: Mapping[str, str]
) -> list[tuple[dict[str, str], Sequence[str]]]:
    """The ways to tell the other positional parts from those of a literal that was cut."""
    if option == "host":
        if "port" in kwargs:
            return [({}, args)]
        return [({"port": args[-1]}, args[:-1])] if args and args[-1].isdigit() else []
    missing = [name for name in ("host", "port") if name not in kwargs]
    if option not in kwargs or len(args) < len(missing):
        return []
    return [(dict(zip(missing, args, strict=False)), args[len(missing) :])]


def _description(words: Mapping[str, str]) -> str:
    options = dict(words)
    host, port = options.pop("host", "HOST"), options.pop("port", "PORT")
    tail = [f"{name}={quoteStringArgument(value)}" for name, value in options.items()]
    return ":".join(["dualstack", quoteStringArgument(host), port, *tail])
