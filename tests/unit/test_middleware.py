"""Middleware: what a server tells of addresses is canonical, all else is as it was."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsadapter import asgi, wsgi


def through_asgi(scope: dict[str, Any]) -> dict[str, Any]:
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    receive, send = object(), object()
    asyncio.run(asgi.CanonicalAddresses(application)(scope, receive, send))
    [(told, got_receive, got_send)] = seen
    assert (got_receive, got_send) == (receive, send)
    return dict(told) if told is not scope else scope


class Address(NamedTuple):
    """What a server may make of an address."""

    host: str
    port: int


@pytest.mark.parametrize("kind", [tuple, list, Address._make])
@pytest.mark.parametrize("type_", ["http", "websocket"])
@pytest.mark.parametrize("mapped", ["::ffff:192.0.2.1", "::FFFF:c000:201", "0::ffff:192.0.2.1"])
def test_client_and_server_of_a_scope(type_: str, kind: Any, mapped: str) -> None:
    headers = [(b"x-forwarded-for", b"::ffff:192.0.2.9")]
    scope = {
        "type": type_,
        "client": kind((mapped, 1234)),
        "server": kind((mapped, 80)),
        "headers": headers,
    }
    before = dict(scope)
    told = through_asgi(scope)
    assert told["client"] == kind(("192.0.2.1", 1234))
    assert told["server"] == kind(("192.0.2.1", 80))
    assert told["headers"] is headers
    assert scope == before


@pytest.mark.parametrize(
    "scope",
    [
        {"type": "lifespan"},
        {"type": "lifespan", "client": ("::ffff:192.0.2.1", 1)},
        {"type": "http"},
        {"type": "http", "client": None, "server": None},
        {"type": "http", "client": ("192.0.2.1", 1), "server": ("2001:db8::1", 80)},
        {"type": "http", "client": ("testclient", 50000), "server": ("/run/app.sock", None)},
        {"type": "http", "client": ("", 0), "server": ("::ffff:192.0.2.1%lo", 80)},
        {"type": "http", "client": (None, None), "server": (b"::ffff:192.0.2.1", 80)},
        {"type": "websocket", "client": 5, "server": {"host": "::ffff:192.0.2.1"}},
        {"type": "http", "client": "::ffff:192.0.2.1", "server": []},
    ],
)
def test_every_other_scope_is_the_very_same(scope: dict[str, Any]) -> None:
    assert through_asgi(scope) is scope


def test_the_environment_of_wsgi() -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        assert start_response is start
        return [repr(environ).encode()]

    def start(*_: Any) -> None:
        pass

    environ = {
        "REMOTE_ADDR": "::ffff:192.0.2.1",
        "REMOTE_HOST": "",
        "SERVER_NAME": "::FFFF:192.0.2.2",
        "SERVER_PORT": "80",
        "HTTP_X_FORWARDED_FOR": "::ffff:192.0.2.9",
    }
    wanted = environ | {"REMOTE_ADDR": "192.0.2.1", "SERVER_NAME": "192.0.2.2"}
    assert wsgi.CanonicalAddresses(application)(environ, start) == [repr(wanted).encode()]


@pytest.mark.parametrize("told", [b"::ffff:192.0.2.1", 5, ("::ffff:192.0.2.1", 1)])
def test_what_is_no_text_is_left_as_it_is(told: Any) -> None:
    environ = {"REMOTE_ADDR": told}
    wsgi.CanonicalAddresses(lambda _environ, _start: [])(environ, None)
    assert environ == {"REMOTE_ADDR": told}


@given(st.text(), st.text())
def test_no_text_makes_it_fail(client: str, server: str) -> None:
    through_asgi({"type": "http", "client": (client, 1), "server": (server, None)})
    environ = {"REMOTE_ADDR": client, "SERVER_NAME": server}
    wsgi.CanonicalAddresses(lambda _environ, _start: [])(environ, None)
