"""The options of the server endpoint string ``dualstack:``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.endpoints import quoteStringArgument

from dsadapter.addressing.text import unmap_text
from dsadapter.frameworks.twisted.strings.option_values import (
    cut_literal,
    spaces_hint,
    whole_number,
    yes_or_no,
)

TLS_OPTIONS = ("tls", "privateKey", "certKey", "extraCertChain", "dhParameters")
_SERVER_OPTIONS = ("port", "interface", "backlog", "fallback", "reusePort", *TLS_OPTIONS)


def server_options(args: Sequence[str], kwargs: Mapping[str, str]) -> dict[str, Any]:
    """The options for the parts of an endpoint string, as Twisted's tokenizer gives them.

    :returns: the arguments of :class:`~dsadapter.policy.ListenPolicy`, and those of
        :data:`TLS_OPTIONS` as text.
    :raises ValueError: naming the offending part and the form to use.
    """
    _refuse_unescaped_literal(args, kwargs)
    for name in kwargs:
        if name not in _SERVER_OPTIONS:
            raise ValueError(
                f"dualstack: has no option {name!r}{spaces_hint(name)}; "
                f"it has {', '.join(_SERVER_OPTIONS)}"
            )
    options: dict[str, Any] = dict(kwargs)
    if len(args) > 1:
        raise ValueError(
            f"dualstack: does not take {args[1]!r} after the port; options are written "
            f"NAME=VALUE, as in 'dualstack:{args[0]}:interface=127.0.0.1'"
        )
    if args and "port" in options:
        raise ValueError(
            f"dualstack: got two ports, {args[0]!r} and port={options['port']!r}; give one"
        )
    if args:
        options["port"] = args[0]
    if "port" not in options:
        raise ValueError("dualstack: needs a port, as in 'dualstack:8080' or 'dualstack:port=8080'")
    options["port"] = whole_number("port", options["port"], "dualstack:8080")
    if "backlog" in options:
        options["backlog"] = whole_number(
            "backlog", options["backlog"], "dualstack:8080:backlog=128"
        )
    if "reusePort" in options:
        options["reuse_port"] = yes_or_no("reusePort", options.pop("reusePort"))
    options["host"] = options.pop("interface", "::")
    return options


def _refuse_unescaped_literal(args: Sequence[str], kwargs: Mapping[str, str]) -> None:
    """Recognise ``interface=::1`` and ``interface=[::1]``, whose colons Twisted took for
    separators, and brackets around an escaped address, and show what to type."""
    for port, parts in _splits(args, kwargs):
        cut = cut_literal(parts)
        if cut is not None:
            literal, bare = cut
            slip = "colons that need a backslash" if len(parts) > 1 else "brackets"
            # No repr: it would double the backslashes that have to be typed.
            raise ValueError(
                f"dualstack: {literal} has {slip}; write {_description(port, bare, kwargs)}"
            )


def _splits(args: Sequence[str], kwargs: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """The ways to tell the port from the parts of a literal that was cut at its colons."""
    cut = [kwargs["interface"]] if "interface" in kwargs else []
    if "port" in kwargs:
        return [(kwargs["port"], [*cut, *args])]
    ends = [(args[0], [*cut, *args[1:]]), (args[-1], [*cut, *args[:-1]])] if args else []
    return [split for split in ends if split[0].isdigit()] or [("PORT", [*cut, *args])]


def _description(port: str, literal: str, kwargs: Mapping[str, str]) -> str:
    options = {**kwargs, "interface": unmap_text(literal)}
    options.pop("port", None)
    return ":".join(
        ["dualstack", port, *(f"{k}={quoteStringArgument(v)}" for k, v in options.items())]
    )
