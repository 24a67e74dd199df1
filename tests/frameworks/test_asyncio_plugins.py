"""What asyncio's users are told where a plugin is blocked, missing or built for another version."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CALLS = {
    "create_server": "create_server(asyncio.Protocol, None, 0)",
    "start_server": "start_server(print, None, 0)",
    "create_connection": "create_connection(asyncio.Protocol, '127.0.0.1', 9)",
    "open_connection": "open_connection('127.0.0.1', 9)",
    "create_datagram_endpoint": "create_datagram_endpoint(asyncio.DatagramProtocol)",
}
PROGRAM = """
import asyncio
from dsadapter.frameworks import get_framework
from dsadapter.frameworks.asyncio import *
try:
    {statement}
except Exception as error:
    print(type(error).__name__, error)
else:
    print("done")
"""


def said(statement: str, folder: Path | None = None, **variables: str) -> tuple[str, str]:
    """What a program prints, and its log."""
    environment = {**os.environ, **variables}
    if folder is not None:
        environment["PYTHONPATH"] = str(folder)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(statement=statement)],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    return done.stdout.strip(), done.stderr


@pytest.fixture
def of_tomorrow(tmp_path: Path) -> Path:
    """A folder with an installed plugin whose hook has an argument that there is not yet."""
    (tmp_path / "tomorrow.py").write_text(
        "from dsadapter import hookimpl\n"
        "@hookimpl\n"
        "def dsadapter_connection_made(connection, weather): ...\n"
    )
    metadata = tmp_path / "tomorrow-9.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tomorrow\nVersion: 9.0\n")
    (metadata / "entry_points.txt").write_text("[dsadapter]\ntomorrow = tomorrow\n")
    return tmp_path


def test_a_blocked_adapter_is_none_of_the_registrys() -> None:
    told, _ = said('get_framework("asyncio")', DSADAPTER_BLOCK_PLUGINS="asyncio")
    assert told.startswith(
        "UnknownFrameworkError no plugin contributes the framework 'asyncio'; there are: "
    )
    assert "blocked plugins: asyncio" in told


def test_functions_that_are_imported_by_name_ask_no_registry() -> None:
    told, _ = said(f"asyncio.run({CALLS['create_server']})", DSADAPTER_BLOCK_PLUGINS="asyncio")
    assert told == "done"


def test_a_framework_that_nobody_knows() -> None:
    told, _ = said('get_framework("asincio")')
    assert told.startswith(
        "UnknownFrameworkError no plugin contributes the framework 'asincio'; "
        "did you mean 'asyncio'?; there are: "
    )
    assert "asyncio (installed)" in told


def test_a_loop_is_of_its_framework() -> None:
    told, _ = said('get_framework("uvloop")')
    assert "no plugin contributes the framework 'uvloop'; 'asyncio' serves it, too; " in told


def test_a_framework_that_is_a_distribution_of_its_own() -> None:
    told, _ = said('get_framework("gevent")')
    assert told.startswith(
        "UnknownFrameworkError no plugin contributes the framework 'gevent'; "
        "install 'dsadapter-gevent'; there are: "
    )
    told, _ = said('get_framework("gevent")', DSADAPTER_BLOCK_PLUGINS="gevent")
    assert "install 'dsadapter-gevent'" not in told
    assert "blocked plugins: gevent" in told


@pytest.mark.parametrize("call", CALLS)
def test_nothing_opens_without_a_required_plugin(call: str) -> None:
    told, _ = said(f"asyncio.run({CALLS[call]})", DSADAPTER_REQUIRE_PLUGINS="egress")
    assert told.startswith(
        "PermissionError [Errno 1] plugin 'egress' is required and not registered"
    )
    assert told.endswith("fix that, or take it out of DSADAPTER_REQUIRE_PLUGINS")


def test_a_plugin_built_for_another_version_is_named_once_and_skipped(of_tomorrow: Path) -> None:
    told, log = said(f"asyncio.run({CALLS['create_server']})", of_tomorrow)
    assert told == "done"
    assert log.count("tomorrow 9.0") == 1
    assert "plugin 'tomorrow' (tomorrow 9.0) is skipped" in log
    assert "'weather'" in log


@pytest.mark.parametrize("call", CALLS)
def test_it_is_an_error_of_asyncios_where_it_is_required(call: str, of_tomorrow: Path) -> None:
    told, _ = said(f"asyncio.run({CALLS[call]})", of_tomorrow, DSADAPTER_REQUIRE_PLUGINS="tomorrow")
    assert told.startswith("PermissionError [Errno 1] plugin 'tomorrow' is required and broken")
    assert "'weather'" in told


def test_importing_and_using_it_loads_no_other_framework() -> None:
    program = (
        "import asyncio, sys; import dsadapter.frameworks.asyncio as ours; "
        "others = {'twisted', 'trio', 'anyio', 'uvloop'}; "
        "print(sorted((others | {'pluggy', 'zope'}) & sys.modules.keys())); "
        "asyncio.run(ours.create_server(asyncio.Protocol, None, 0)); "
        "print(sorted(others & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert done.stdout.split() == [b"[]", b"[]"]
