"""Installed distributions that can't be read, or whose modules end in odd ways, in this process."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from dsadapter.hooks.manager import PluginManager

Install = Callable[..., Path]

EXITS = """
import sys
from dsadapter import hookimpl

@hookimpl
def dsadapter_register_frameworks(): sys.exit(3)
"""
GOOD = """
from dsadapter import hookimpl

@hookimpl
def dsadapter_connection_made(connection): pass
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution with one module and one entry point of its name on the path."""
    monkeypatch.syspath_prepend(tmp_path)

    def installed(name: str, source: str, entry_points: bytes | None = None) -> Path:
        # Another test's has the name, too.
        sys.modules.pop(name, None)
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        information = tmp_path / f"{name}-1.0.dist-info"
        information.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        (information / "METADATA").write_text(metadata)
        plain = f"[dsadapter]\n{name} = {name}\n".encode()
        (information / "entry_points.txt").write_bytes(entry_points or plain)
        return information

    return installed


@pytest.mark.parametrize("garbage", [b"[dsadapter]\nnothing\n", b"\xff\xfe[dsadapter]\n"])
def test_a_distribution_that_cannot_be_read_hides_no_plugin_of_another(
    install: Install, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = install("a_garbage", "", garbage)
    install("z_good", GOOD)
    manager = PluginManager()
    manager.load()
    assert "z_good" in manager.plugins
    assert "twisted" in manager.plugins
    [message] = caplog.messages
    assert str(path) in message
    assert message.endswith("install it again, or remove it")


def test_a_distribution_that_was_removed_halfway_is_a_plugin_like_any_other(
    install: Install,
) -> None:
    (install("a_half", GOOD) / "METADATA").unlink()
    install("z_good", GOOD)
    manager = PluginManager()
    manager.load()
    assert manager.plugins.keys() >= {"a_half", "z_good"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("class Panic(BaseException): pass\nraise Panic('boom')", "Panic: boom"),
        ("raise ValueError('a\\nFAKE LINE')", r"ValueError: a\nFAKE LINE;"),
        (
            "class Mute(Exception):\n    def __str__(self): raise self\nraise Mute",
            "can't be imported: Mute;",
        ),
        (EXITS, "it raised SystemExit: 3, in dsadapter_register_frameworks"),
    ],
)
def test_a_plugin_ends_the_loading_of_no_other(
    install: Install, source: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    install("a_broken", source)
    install("z_good", GOOD)
    manager = PluginManager(require=["a_broken"])
    manager.load()
    assert "z_good" in manager.plugins
    assert "a_broken" not in manager.plugins
    [said] = caplog.messages
    assert message in said
    assert said.isprintable()
