"""Middleware among a server's own types, under mypy strict; what is ignored has to be wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Literal, TypedDict
from wsgiref.simple_server import make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import dsadapter.asgi
import dsadapter.wsgi


class Request(TypedDict):
    type: Literal["http", "websocket"]
    client: tuple[str, int] | None


class Lifespan(TypedDict):
    type: Literal["lifespan"]


class Message(TypedDict):
    type: str


Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Server = Callable[[Request | Lifespan, Receive, Send], Awaitable[None]]


async def application(scope: Request | Lifespan, receive: Receive, send: Send) -> None:
    if scope["type"] != "lifespan":
        print(scope["client"])
    await send(await receive())


def plain(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [str(environ["REMOTE_ADDR"]).encode()]


served: Server = dsadapter.asgi.CanonicalAddresses(application)
twice: Server = dsadapter.asgi.CanonicalAddresses(dsadapter.asgi.CanonicalAddresses(application))
wsgi: WSGIApplication = dsadapter.wsgi.CanonicalAddresses(plain)
dsadapter.asgi.CanonicalAddresses("application")  # type: ignore[arg-type]
dsadapter.wsgi.CanonicalAddresses(application)  # type: ignore[arg-type]


def main() -> None:
    make_server("", 0, dsadapter.wsgi.CanonicalAddresses(plain)).serve_forever()
