"""What operators are told of plugins that are named wrongly, are broken, or speak to nobody."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.environments import clean_environment

from dsadapter.plugin import PluginManager

TAC = """
from twisted.application import service, strports
from twisted.internet import reactor
from twisted.internet.protocol import Factory

application = service.Application("words")
strports.service(r"dualstack:0:interface=127.0.0.1", Factory()).setServiceParent(application)
reactor.callLater(0, reactor.stop)
"""
FAILING = """
from dsadapter import hookimpl

@hookimpl
def dsadapter_listener_opened(listener):
    raise ArithmeticError("an observer that fails")
"""


def by_argument(monkeypatch: pytest.MonkeyPatch) -> PluginManager:
    monkeypatch.delenv("DSADAPTER_BLOCK_PLUGINS", raising=False)
    return PluginManager(block=["egres"])


def by_variable(monkeypatch: pytest.MonkeyPatch) -> PluginManager:
    monkeypatch.setenv("DSADAPTER_BLOCK_PLUGINS", "egres")
    return PluginManager()


@pytest.mark.parametrize("make", [by_argument, by_variable])
def test_a_mistyped_name_of_a_plugin_to_block_is_named(
    make: Callable[[pytest.MonkeyPatch], PluginManager],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        make(monkeypatch).load()
    assert [text for text in caplog.messages if "'egres'" in text]


def test_the_name_of_a_plugin_that_is_there_is_no_mistake(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DSADAPTER_BLOCK_PLUGINS", "twisted")
    with caplog.at_level(logging.WARNING):
        PluginManager().load()
    assert caplog.messages == []


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """A folder for ``PYTHONPATH`` in which a distribution has a plugin that fails, and one that
    can't be imported."""
    about = tmp_path / "plugins" / "failing-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: failing\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[dsadapter]\nfailing = failing_plugin\nmissing = no_such_module\n"
    )
    (about.parent / "failing_plugin.py").write_text(FAILING)
    return about.parent


def logged(folder: Path, plugins: Path, *options: str) -> str:
    """What ``twistd`` says of a server, by its standard output or in ``twistd.log``."""
    (folder / "server.tac").write_text(TAC)
    twistd = str(Path(sys.executable).with_name("twistd"))
    command = [twistd, "--nodaemon", "--pidfile=", *options, "--python=server.tac"]
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(PYTHONPATH=str(plugins)),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    file = folder / "twistd.log"
    return file.read_text() if file.exists() else done.stdout + done.stderr


PLUGINS = ["failing", "missing"]


@pytest.mark.parametrize("name", PLUGINS)
def test_messages_about_plugins_reach_the_terminal(
    tmp_path: Path, plugins: Path, name: str
) -> None:
    assert logged(tmp_path, plugins).count(f"plugin '{name}'") == 1


@pytest.mark.parametrize("name", PLUGINS)
def test_messages_about_plugins_reach_the_log_file(
    tmp_path: Path, plugins: Path, name: str
) -> None:
    log = logged(tmp_path, plugins, "--logfile=twistd.log")
    assert "Main loop terminated" in log
    assert log.count(f"plugin '{name}'") == 1
