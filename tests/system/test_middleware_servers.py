"""Middleware in servers that accept where nothing else can translate."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from support.builds import Distributions
from support.environments import Environment, clean_environment, create_environment
from support.launched import finished
from support.programs import FAMILIES, LOOPBACK, curl, leaks, serving, until

from dsadapter.launcher.table import ELSEWHERE

APPLICATION = """
import dsadapter.asgi
import dsadapter.wsgi


lifespans = []


async def plain_asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        lifespans.append("client" in scope)
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        text = f"{scope['client'][0]} {scope['server'][0]} {lifespans}"
        await send({"type": "websocket.send", "text": text})
        await send({"type": "websocket.close"})
        return
    headers = dict(scope["headers"])
    said = headers.get(b"x-forwarded-for", b"nothing").decode()
    body = f"hello {scope['client'][0]} from {scope['server'][0]}, a proxy said {said}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def plain_wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    said = environ.get("HTTP_X_FORWARDED_FOR", "nothing")
    return [f"hello {environ['REMOTE_ADDR']}, a proxy said {said}".encode()]


asgi = dsadapter.asgi.CanonicalAddresses(plain_asgi)
wsgi = dsadapter.wsgi.CanonicalAddresses(plain_wsgi)
"""

GRANIAN = ("granian", "--host", "::", "--port", "PORT", "--interface")
SERVERS = {
    "granian asgi": (*GRANIAN, "asgi", "application:asgi"),
    "granian wsgi": (*GRANIAN, "wsgi", "application:wsgi"),
    "hypercorn trio": ("hypercorn", "-k", "trio", "-b", "[::]:PORT", "application:asgi"),
}


@pytest.fixture(scope="module")
def environment(
    distributions: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    made = create_environment(tmp_path_factory.mktemp("middleware") / "environment", "uv")
    made.install(distributions.wheel, "hypercorn[trio]", *ELSEWHERE)
    return made


@pytest.mark.parametrize("name", SERVERS)
def test_the_application_sees_who_asks(name: str, environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "application.py").write_text(APPLICATION)
    program, *options = SERVERS[name]

    def command(port: int) -> list[str]:
        return [
            environment.program(program),
            *(option.replace("PORT", str(port)) for option in options),
        ]

    variables = clean_environment(PYTHONPATH=str(tmp_path))
    with serving(command, cwd=tmp_path, env=variables) as (server, port):
        answers = []
        for family in FAMILIES:
            until(lambda family=family: "hello" in curl(family, port), server)
            answers.append(curl(family, port, "-H", "X-Forwarded-For: ::ffff:192.0.2.9"))
        for family, answer in zip(FAMILIES, answers, strict=True):
            assert f"hello {LOOPBACK[family]}" in answer
            assert answer.endswith("a proxy said ::ffff:192.0.2.9")
            assert leaks(answer.removesuffix("::ffff:192.0.2.9")) == []


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def first_message(host: str, port: int) -> str:
    """The text that a WebSocket server sends first, of less than 126 bytes (RFC 6455)."""
    with socket.create_connection((host, port), timeout=60) as client, client.makefile("rb") as got:
        client.sendall(UPGRADE)
        assert b" 101 " in got.readline()
        while got.readline().strip():
            pass
        kind, length = got.read(2)
        assert (kind, length < 126) == (0x81, True)
        return got.read(length).decode()


@pytest.mark.parametrize("name", ["granian asgi", "hypercorn trio"])
def test_a_websocket_and_the_lifespan(name: str, environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "application.py").write_text(APPLICATION)
    program, *options = SERVERS[name]

    def command(port: int) -> list[str]:
        words = " ".join(options).replace("PORT", str(port))
        return [environment.program(program), *words.split()]

    variables = clean_environment(PYTHONPATH=str(tmp_path))
    with serving(command, cwd=tmp_path, env=variables) as (server, port):
        for family in FAMILIES:
            until(lambda family=family: "hello" in curl(family, port), server)
            # The lifespan's scope has come as it was, without a client.
            client, answered, lifespans = first_message(LOOPBACK[family], port).split(" ", 2)
            assert (client, lifespans) == (LOOPBACK[family], "[False]")
            assert leaks(answered) == []


def test_without_it_they_leak(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "application.py").write_text(APPLICATION)

    def command(port: int) -> list[str]:
        program, *options = SERVERS["granian asgi"]
        words = " ".join(options).replace("PORT", str(port)).replace(":asgi", ":plain_asgi")
        return [environment.program(program), *words.split()]

    variables = clean_environment(PYTHONPATH=str(tmp_path))
    with serving(command, cwd=tmp_path, env=variables) as (server, port):
        until(lambda: "hello" in curl("-4", port), server)
        assert leaks(curl("-4", port))


@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_launcher_says_what_it_does_not_reach(name: str, environment: Environment) -> None:
    command = [environment.program("dsadapter"), "run", "--", str(environment.python)]
    done = finished([*command, "-c", f"import {name}"])
    assert f"{name} stays as it is: it accepts connections in {ELSEWHERE[name]}" in done.stderr
