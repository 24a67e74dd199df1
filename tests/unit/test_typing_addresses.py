"""What the documentation says of typing an IPv6 address arrives as it should.

Nothing is opened.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactor

PAGE = Path(__file__).parents[2] / "docs" / "twisted.md"


def word(text: str) -> str:
    [only] = shlex.split(text)
    return only


def unit(text: str) -> str:
    """systemd.syntax(7): backslashes are escapes as in C, and words end at spaces."""
    return word(text.encode().decode("unicode_escape").replace("\\", "\\\\"))


READERS: dict[str, Callable[[str], object]] = {
    "a shell": word,
    "Python": ast.literal_eval,
    "a systemd unit": unit,
    "JSON": json.loads,
    "anywhere": word,
}


@pytest.mark.parametrize("where", READERS)
def test_what_is_written_there_is_read_as_the_address(where: str) -> None:
    [row] = re.findall(rf"^\| {where}.*", PAGE.read_text(), re.MULTILINE)
    written = [each for each in re.findall(r"`([^`]+)`", row) if "interface" in each]
    assert written
    for each in written:
        endpoint = serverFromString(MemoryReactor(), str(READERS[where](each)))
        assert "[::1]:8080 " in repr(endpoint)
