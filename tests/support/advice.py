"""What an error advises, and known faults."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

import pytest

_STRINGS = re.compile(r"'(dualstack:[^\s']+)'|\b(?:write|type) (dualstack:[^\s';,]+)")
_QUOTED = re.compile(r"'([^']*)'")
# A text that shows where something of the reader's goes.
_BLANKS = {"HOST": "example.com", "PORT": "8080"}


def advised_strings(text: str, typed: str) -> list[str]:
    """The endpoint strings that an error tells its reader to type instead of what was typed, with
    blanks filled in."""
    found = [quoted or bare for quoted, bare in _STRINGS.findall(text)]
    return [
        re.sub("HOST|PORT", lambda blank: _BLANKS[blank[0]], each)
        for each in found
        if each != typed
    ]


def advised_addresses(text: str, typed: Iterable[str]) -> list[str]:
    """The address literals that an error tells its reader to give instead of what was typed."""
    # What is wrong comes first, and may be put together from what was typed in several parts.
    remedy = text.partition("; ")[2]
    return [each for each in _QUOTED.findall(remedy) if _is_address(each) and each not in typed]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def all_faulty(
    reason: str, cases: Iterable[Any], raises: type[Exception] | None = None
) -> list[Any]:
    """Parameters of a test that fails today, one for each case: a tuple of values, or the only one.

    :param reason: in a few words.
    :param raises: what it fails with, if not with an assertion of its own.
    """
    failures = raises or (AssertionError, pytest.fail.Exception)
    mark = pytest.mark.xfail(strict=True, reason=f"fault: {reason}", raises=failures)
    values = (case if isinstance(case, tuple) else (case,) for case in cases)
    return [pytest.param(*each, marks=mark) for each in values]
