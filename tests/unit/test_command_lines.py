"""What errors advise to type, on each system."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsadapter.command_lines import assignment, command_line, extra, joined, pip
from dsadapter.launcher.windows_programs import split_command_line

PLATFORMS = ("linux", "darwin", "freebsd14", "win32")
ABOUT: dict[str, dict[str, object]] = {
    "addresses": {},
    "routes": {"host": "192.0.2.1"},
    "prohibitions": {"host": "192.0.2.1"},
    "port": {"port": 8080},
    "loopback": {},
    "remove": {"file": "a b"},
    "empty": {"folder": "a b"},
}
UNIX_ALONE = ("ip ", "ss ", "rm ", "ifconfig", "grep", "export ", "unset ", "'")


@pytest.mark.parametrize("what", ABOUT)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_system_has_a_command(platform: str, what: str) -> None:
    line = command_line(what, platform=platform, **ABOUT[what])  # type: ignore[arg-type]
    assert line
    assert "{" not in line
    assert all(not line.startswith(word) for word in UNIX_ALONE if platform == "win32")
    assert "'" not in line or platform != "win32"


def test_what_windows_has() -> None:
    assert command_line("port", platform="win32", port=8080) == "netstat -ano | findstr :8080"
    assert command_line("addresses", platform="win32") == "netsh interface ipv6 show addresses"
    assert command_line("routes", platform="win32", host="::1") == "route print"
    remove = command_line("remove", platform="win32", file=r"C:\a b\dropin.cache")
    assert remove == r'del "C:\a b\dropin.cache"'


@pytest.mark.parametrize(
    ("line", "linux", "windows"),
    [
        (extra, "pip install 'dsadapter[cli]'", "pip install dsadapter[cli]"),
        (
            lambda name, platform: pip("p y", "install", "a>=1", platform=platform),
            "'p y' -m pip install 'a>=1'",
            '"p y" -m pip install "a>=1"',
        ),
        (
            lambda name, platform: assignment("NAME", "a b", platform=platform),
            "export NAME='a b'",
            'set "NAME=a b"',
        ),
        (
            lambda name, platform: assignment("NAME", "", platform=platform),
            "unset NAME",
            'set "NAME="',
        ),
    ],
)
def test_quotes_are_the_shells(line: object, linux: str, windows: str) -> None:
    assert callable(line)
    assert line("cli", platform="linux") == linux
    assert line("cli", platform="win32") == windows


WORDS = st.lists(st.text(st.sampled_from(" \"\\&|<>^()%'ab:=")), max_size=4)


@given(WORDS)
def test_a_program_gets_the_words_that_were_joined(words: list[str]) -> None:
    assert split_command_line(joined(["program", *words], platform="win32")) == ["program", *words]
    assert shlex.split(joined(words, platform="linux")) == words
