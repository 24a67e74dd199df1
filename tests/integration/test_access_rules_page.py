"""``docs/access-rules.md``: its examples say what comes of them, and its server is run."""

from __future__ import annotations

import ast
import asyncio
import re
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from support.listeners import stop
from support.processes import PATIENCE
from support.reactors import Reactor
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource
from twisted.web.server import Site

from dsadapter.addressing import AddressSet
from dsadapter.frameworks.asyncio import start_server

PAGE = Path(__file__).parents[2] / "docs" / "access-rules.md"


def blocks(info: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```python{info}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def said(source: str, statement: ast.stmt) -> str:
    """The comment behind a statement."""
    assert statement.end_lineno is not None
    return source.splitlines()[statement.end_lineno - 1].partition("  # ")[2]


def run(source: str, statement: ast.stmt, names: dict[str, Any]) -> Any:
    text = ast.get_source_segment(source, statement)
    assert text is not None
    if isinstance(statement, ast.Expr):
        return eval(text, names)
    exec(text, names)
    return None


def test_every_example_comes_out_as_the_page_says() -> None:
    names: dict[str, Any] = {}
    checked = 0
    for source in blocks(""):
        for statement in ast.parse(source).body:
            value = run(source, statement, names)
            if isinstance(statement, ast.Expr):
                assert value == ast.literal_eval(said(source, statement)), source
                checked += 1
    assert checked >= 15
    failures = 0
    for source in blocks(" raises"):
        for statement in ast.parse(source).body:
            if not isinstance(statement, ast.Expr):
                run(source, statement, names)
                continue
            with pytest.raises(Exception) as caught:
                run(source, statement, names)
            assert type(caught.value).__name__ == said(source, statement)
            failures += 1
    assert failures >= 7


def received_from(client: socket.socket, reactor: Reactor) -> bytes:
    """Everything up to the end of the connection."""
    client.setblocking(False)
    received = bytearray()

    def ended() -> bool:
        try:
            data = client.recv(1000)
        except BlockingIOError:
            return False
        received.extend(data)
        return not data

    reactor.until(ended)
    return bytes(received)


def test_the_server_of_the_page_turns_strangers_away(reactor: Reactor) -> None:
    [source] = blocks(" server")
    names: dict[str, Any] = {}
    exec(source, names)
    endpoint = serverFromString(reactor, "dualstack:0")
    port = reactor.result_of(endpoint.listen(names["Restricted"]()))
    number = port.getHost().port
    answers = {}
    for host in ("127.0.0.1", "127.9.9.9", "::1"):
        with socket.create_connection((host, number)) as client:
            answers[host] = received_from(client, reactor)
    stop(reactor, port)
    assert answers == ANSWERS


ANSWERS = {"127.0.0.1": b"welcome", "127.9.9.9": b"welcome", "::1": b""}


def answers_of(number: int) -> dict[str, bytes]:
    found = {}
    for host in ANSWERS:
        with socket.create_connection((host, number), timeout=PATIENCE) as client:
            found[host] = b"".join(iter(lambda client=client: client.recv(1000), b""))
    return found


def test_the_asyncio_server_of_the_page_turns_strangers_away() -> None:
    [source] = blocks(" asyncio")
    names: dict[str, Any] = {}
    exec(source, names)

    async def main() -> dict[str, bytes]:
        async with await start_server(names["greet"], None, 0) as server:
            number = server.sockets[0].getsockname()[1]
            return await asyncio.to_thread(answers_of, number)

    assert asyncio.run(main()) == ANSWERS


def test_the_blocking_server_of_the_page_turns_strangers_away() -> None:
    [source] = blocks(" blocking")
    names: dict[str, Any] = {}
    exec(source, names)
    with names["Server"](("", 0), names["Greeter"]) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        try:
            assert answers_of(server.server_address[1]) == ANSWERS
        finally:
            server.shutdown()
            serving.join()


@pytest.mark.parametrize("rule", ["192.0.2.1/24", "::ffff:192.0.2.0/24"])
def test_the_errors_say_what_to_write(rule: str) -> None:
    assert f'AddressSet(["{rule}"])' in PAGE.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"write '192\.0\.2\.0/24'") as caught:
        AddressSet([rule])
    assert repr(rule) in str(caught.value)


def test_the_client_of_a_request_is_found_by_the_function_of_the_page(reactor: Reactor) -> None:
    names: dict[str, Any] = {}
    for source in blocks(""):
        exec(source, names)

    class Clients(Resource):
        isLeaf = True  # noqa: N815

        def render_GET(self, request: Any) -> bytes:
            return f"client {names['client_of'](request)}".encode()

    site = Site(Clients(), reactor=reactor)
    port = reactor.result_of(serverFromString(reactor, "dualstack:0").listen(site))
    answers = {}
    for host in ("127.0.0.1", "::1"):
        with socket.create_connection((host, port.getHost().port)) as client:
            client.sendall(
                b"GET / HTTP/1.0\r\nX-Forwarded-For: 9.9.9.9\r\n"
                b"X-Forwarded-For: ::ffff:192.0.2.1\r\n\r\n"
            )
            answers[host] = received_from(client, reactor).rpartition(b"\r\n")[2]
    stop(reactor, port)
    assert answers == {"127.0.0.1": b"client 192.0.2.1", "::1": b"client ::1"}
