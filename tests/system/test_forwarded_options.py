"""What ``docs/proxy-protocol.md`` says of ``X-Forwarded-For``: what uvicorn's and daphne's own
options make of it, and what the wrapper of the page does.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from support.builds import CHECKOUT, Distributions
from support.environments import Environment, clean_environment, create_environment
from support.processes import PATIENCE
from support.programs import serving

PAGE = CHECKOUT / "docs" / "proxy-protocol.md"
ECHO = Path(__file__).parent / "programs" / "asgi_echo.py"
REQUEST = "GET / HTTP/1.0\r\nX-Forwarded-For: {}\r\n\r\n"
SPOOFED = "9.9.9.9, ::ffff:192.0.2.1"

Command = Callable[[Environment, str, int], list[str]]


def uvicorn(*options: str) -> Command:
    return lambda environment, app, port: [
        *(environment.program("uvicorn"), "--port", str(port), *options, app)
    ]


def daphne(*options: str) -> Command:
    return lambda environment, app, port: [
        *(environment.program("daphne"), "-e", f"dualstack:{port}", *options, app)
    ]


@pytest.fixture(scope="module")
def environment(
    distributions: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    made = create_environment(tmp_path_factory.mktemp("forwarded") / "environment", "uv")
    made.install(distributions.wheel, "daphne", "uvicorn")
    return made


def answer(environment: Environment, folder: Path, command: Command, app: str, said: str) -> str:
    """What a server answers a request from 127.0.0.1 with the header."""
    found = re.search(r"^```python asgi\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    wrapped = "from asgi_echo import app\n" + found[1] + "\napp = ForwardedClient(app)\n"
    (folder / "wrapped.py").write_text(wrapped)
    (folder / "asgi_echo.py").write_text(ECHO.read_text())
    with (
        serving(
            lambda port: command(environment, f"{app}:app", port),
            cwd=folder,
            env=clean_environment(PYTHONPATH=str(folder), PYTHONDONTWRITEBYTECODE="1"),
        ) as (_, port),
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client,
    ):
        client.sendall(REQUEST.format(said).encode())
        return b"".join(iter(lambda: client.recv(4096), b"")).decode()


def client_of(response: str) -> str:
    client: str = json.loads(response.rpartition("\r\n")[2])["client"][0]
    return client


@pytest.mark.parametrize(
    ("command", "app", "client"),
    [
        (uvicorn("--forwarded-allow-ips", "127.0.0.1"), "asgi_echo", "::ffff:192.0.2.1"),
        (daphne("--proxy-headers"), "asgi_echo", "9.9.9.9"),
        (uvicorn("--no-proxy-headers"), "wrapped", "192.0.2.1"),
        (daphne(), "wrapped", "192.0.2.1"),
    ],
    ids=["uvicorn", "daphne", "uvicorn-wrapped", "daphne-wrapped"],
)
def test_the_client_is_what_the_page_says(
    environment: Environment, tmp_path: Path, command: Command, app: str, client: str
) -> None:
    assert client_of(answer(environment, tmp_path, command, app, SPOOFED)) == client
    assert f"`{client}`" in PAGE.read_text()


def test_the_wrapper_answers_400_to_what_is_no_address(
    environment: Environment, tmp_path: Path
) -> None:
    response = answer(environment, tmp_path, daphne(), "wrapped", "010.0.0.1")
    assert response.startswith(("HTTP/1.0 400", "HTTP/1.1 400"))
