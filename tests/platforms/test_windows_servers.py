"""Twisted's servers on Windows, asked from this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.programs import (
    FAMILIES,
    LOOPBACK,
    curl,
    leaks,
    listening_sockets,
    serving,
    until_served,
)
from support.wine import Windows, path_of_windows


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text("hello")
    return tmp_path


@pytest.mark.parametrize(
    ("launcher", "listener"),
    [((), "dualstack"), (("-m", "dsadapter", "run", "--"), "tcp6")],
    ids=["endpoint", "launched"],
)
@pytest.mark.parametrize("reactor", ["select", "iocp"])
def test_twist_web_serves_both_families_by_their_own_names(
    windows: Windows, site: Path, reactor: str, launcher: tuple[str, ...], listener: str
) -> None:
    def command(port: int) -> list[str]:
        listen = ("--listen", f"{listener}:{port}", "--path", path_of_windows(site))
        return windows.command(*launcher, "-m", "twisted", f"--reactor={reactor}", "web", *listen)

    with serving(command, env=windows.environment) as (server, port):
        [_] = listening_sockets(port)
        for family in FAMILIES:
            assert curl(family, port).endswith("hello")
            until_served(LOOPBACK[family], server)
        log = server.stop()

    assert leaks(log) == []
