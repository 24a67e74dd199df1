from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.builds import CHECKOUT, Distributions, copy_checkout
from support.environments import PATIENCE as INSTALLER_PATIENCE
from support.environments import Environment, clean_environment, create_environment
from support.namespaces import outside
from support.processes import PATIENCE, Server, running_command
from support.programs import (
    FAMILIES,
    LOOPBACK,
    Family,
    curl,
    free_port,
    leaks,
    listening_sockets,
    serving,
    until_listening,
    until_logged,
    until_served,
)

PROGRAMS = Path(__file__).parent / "programs"

Create = Callable[..., Environment]


@pytest.fixture(scope="session")
def create(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Create:
    """An environment with the wheel and one program in it."""
    made: dict[str, Environment] = {}

    def create(*requirements: str) -> Environment:
        name = "-".join(requirements) or "nothing"
        if name not in made:
            made[name] = create_environment(tmp_path_factory.mktemp(name) / "environment", "uv")
            made[name].install(distributions.wheel, *requirements)
        return made[name]

    return create


def dualstack(port: int) -> str:
    return f"dualstack:{port}"


def todays(port: int) -> str:
    return rf"tcp6:{port}:interface=\:\:"


def body_of(response: str) -> Any:
    assert response.startswith("HTTP/1.1 200")
    return json.loads(response.replace("\r\n", "\n").partition("\n\n")[2])


def serving_twisted_web(
    create: Create, endpoint: Callable[[int], str], folder: Path
) -> AbstractContextManager[tuple[Server, int]]:
    twist = create().program("twist")
    return serving(lambda port: [twist, "web", "--listen", endpoint(port)], cwd=folder)


def test_twisted_web(create: Create, tmp_path: Path) -> None:
    with serving_twisted_web(create, dualstack, tmp_path) as (server, port):
        bodies = ""
        for family in FAMILIES:
            bodies += curl(family, port)
            until_served(LOOPBACK[family], server)
        assert len(listening_sockets(port)) == 1
        log = server.stop()
    assert leaks(log + bodies) == []


def test_twisted_web_leaks_without_us(create: Create, tmp_path: Path) -> None:
    with serving_twisted_web(create, todays, tmp_path) as (server, port):
        curl("-4", port)
        until_served("::ffff:127.0.0.1", server)
        assert leaks(server.stop())


def serving_daphne(
    create: Create, endpoint: Callable[[int], str], folder: Path
) -> AbstractContextManager[tuple[Server, int]]:
    daphne = create("daphne").program("daphne")
    options = ["--access-log", str(folder / "access.log"), "-v", "2"]
    return serving(
        lambda port: [daphne, "-e", endpoint(port), *options, "asgi_echo:app"],
        cwd=folder,
        env=clean_environment(PYTHONPATH=str(PROGRAMS), PYTHONDONTWRITEBYTECODE="1"),
    )


def test_daphne(create: Create, tmp_path: Path) -> None:
    access = tmp_path / "access.log"
    with serving_daphne(create, dualstack, tmp_path) as (server, port):
        bodies = ""
        for family in FAMILIES:
            response = curl(family, port)
            addresses = body_of(response)
            assert addresses["client"][0] == LOOPBACK[family]
            assert addresses["server"] == [LOOPBACK[family], port]
            bodies += response
            until_logged(f"HTTP response complete for ['{LOOPBACK[family]}',", server)
        assert len(listening_sockets(port)) == 1
        log = server.stop()
    accesses = access.read_text()
    assert leaks(log + accesses + bodies) == []
    assert re.findall(r"^(.*):\d+ - - ", accesses, re.MULTILINE) == ["127.0.0.1", "::1"]


def test_daphne_leaks_without_us(create: Create, tmp_path: Path) -> None:
    with serving_daphne(create, todays, tmp_path) as (server, port):
        addresses = body_of(curl("-4", port))
        assert addresses["client"][0] == addresses["server"][0] == "::ffff:127.0.0.1"
        until_logged("::ffff:127.0.0.1", server)
        assert leaks((tmp_path / "access.log").read_text())


def serving_mailbox(
    create: Create, endpoint: Callable[[int], str], folder: Path
) -> AbstractContextManager[tuple[Server, int]]:
    twistd = create("magic-wormhole-mailbox-server").program("twistd")
    command = [twistd, "-n", "--pidfile=", "-l", "-", "wormhole-mailbox", "--channel-db=:memory:"]
    return serving(lambda port: [*command, "--port", endpoint(port)], cwd=folder)


@contextmanager
def websocket(family: Family, port: int) -> Iterator[Server]:
    """Open a websocket as a wormhole does and wait for the mailbox server's consent."""
    headers = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    command = ["curl", family, "-sS", "-i", "-N", "--http1.1"]
    for header in headers:
        command += ["-H", header]
    command.append(f"http://localhost:{port}/v1")
    with running_command(command, env=clean_environment()) as client:
        until_logged("Sec-WebSocket-Accept:", client)
        yield client


def test_wormhole_mailbox_server(create: Create, tmp_path: Path) -> None:
    with serving_mailbox(create, dualstack, tmp_path) as (server, port):
        answers = ""
        for family in FAMILIES:
            answers += curl(family, port)
            until_served(LOOPBACK[family], server)
            with websocket(family, port) as client:
                # What Twisted puts before the message is where the address leaks today.
                until_logged(f",{LOOPBACK[family]}] ws client connecting: ", server)
                answers += client.stop()
        assert len(listening_sockets(port)) == 1
        log = server.stop()
    assert leaks(log + answers) == []


def test_wormhole_mailbox_server_leaks_without_us(create: Create, tmp_path: Path) -> None:
    with serving_mailbox(create, todays, tmp_path) as (server, port):
        with websocket("-4", port):
            until_logged(",::ffff:127.0.0.1] ws client connecting: ", server)
        assert leaks(server.stop())


def serving_klein(
    create: Create, endpoint: Callable[[int], str], folder: Path
) -> AbstractContextManager[tuple[Server, int]]:
    python = str(create("klein").python)
    script = str(PROGRAMS / "klein_echo.py")
    return serving(lambda port: [python, script, endpoint(port)], cwd=folder)


def test_klein(create: Create, tmp_path: Path) -> None:
    kinds = {"-4": "IPv4Address", "-6": "IPv6Address"}
    with serving_klein(create, dualstack, tmp_path) as (server, port):
        bodies = ""
        for family in FAMILIES:
            response = curl(family, port)
            address = [kinds[family], LOOPBACK[family]]
            assert body_of(response) == dict.fromkeys(["client", "server", "transport"], address)
            bodies += response
            until_served(LOOPBACK[family], server)
        assert len(listening_sockets(port)) == 1
        log = server.stop()
    assert leaks(log + bodies) == []


def test_klein_leaks_without_us(create: Create, tmp_path: Path) -> None:
    with serving_klein(create, todays, tmp_path) as (server, port):
        address = ["IPv6Address", "::ffff:127.0.0.1"]
        assert body_of(curl("-4", port)) == dict.fromkeys(
            ["client", "server", "transport"], address
        )
        until_served("::ffff:127.0.0.1", server)


def commands_of(heading: str) -> list[list[str]]:
    """The commands of a section of the README, those of each block in a list."""
    readme = (CHECKOUT / "README.md").read_text()
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## )", readme, re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```console\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return [re.findall(r"^\$ (.*)$", block, re.MULTILINE) for block in blocks]


def test_command_of_the_readme(tmp_path: Path) -> None:
    copy_checkout(tmp_path / "checkout")
    (start,), look = commands_of("Try it")
    install, _, serve = start.rpartition(" && ")
    # "python3" has to be the interpreter under test.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    options: dict[str, Any] = {"cwd": tmp_path / "checkout", "env": clean_environment(PATH=path)}
    with outside():
        shell(install, timeout=INSTALLER_PATIENCE, **options)
    port = 8080
    assert f"dualstack:{port}" in shlex.split(serve)
    if listening_sockets(port):
        taken, port = port, free_port()
        serve, *look = (command.replace(str(taken), str(port)) for command in (serve, *look))
    with running_command(shlex.split(serve), **options) as server:
        until_listening(port, server)
        by_v4, by_v6, sockets = (shell(command, timeout=PATIENCE, **options) for command in look)
        for family in FAMILIES:
            until_served(LOOPBACK[family], server)
        log = server.stop()
    assert "Twisted" in by_v4
    assert by_v4 == by_v6
    assert len(sockets.splitlines()) == 2, "ss prints a heading and one line a socket"
    assert leaks(log) == []


def shell(command: str, **options: Any) -> str:
    result: subprocess.CompletedProcess[str] = subprocess.run(
        command, shell=True, stdout=subprocess.PIPE, text=True, **options
    )
    assert result.returncode == 0, f"{command} failed:\n{result.stdout}"
    return result.stdout
