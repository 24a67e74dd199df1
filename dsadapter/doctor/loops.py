"""Which way the default reactor and event loops are served, found by listening with each."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from dsadapter import hookimpl
from dsadapter.doctor.findings import Check, Finding, Question
from dsadapter.doctor.isolation import FORKS
from dsadapter.doctor.keeping_off import CannotKeepOffError, keeping_off
from dsadapter.hooks.manager import BUILT_IN, get_plugin_manager, installed_plugins
from dsadapter.messages import said_of

_PATIENCE = 2.0
_PLUGIN = "doctor"
_REACTOR_WAYS = {
    "watching": "it watches sockets of dsadapter",
    "adopting": "its own ports have sockets of dsadapter; getHandle() shows mapped addresses",
    "recording": "it is for tests: nothing opens",
}


class _KeepsOff:
    """A plugin for this one process: nothing in it gets a port that was asked about."""

    def __init__(self, question: Question) -> None:
        self._keep_off = keeping_off(question)

    @hookimpl
    def dsadapter_before_bind(self, sock: socket.socket) -> None:
        self._keep_off(sock)


@contextmanager
def _kept_off(question: Question) -> Iterator[None]:
    """Raises :class:`CannotKeepOffError` before anything opens, if that can't be done."""
    with socket.socket(_any_family(), socket.SOCK_STREAM) as sock:
        keeping_off(question)(sock)
    names = {point.name for point in installed_plugins()} - BUILT_IN.keys()
    # A thread shares the plugins with all other checks.
    manager = get_plugin_manager(block=names if FORKS else ())
    manager.register(_KeepsOff(question), _PLUGIN)
    try:
        yield
    finally:
        manager.unregister(_PLUGIN)


def _any_family() -> int:
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError:
        return socket.AF_INET
    return socket.AF_INET6


def _reactor(question: Question) -> Finding:
    try:
        with _kept_off(question):
            return _reactor_found()
    except CannotKeepOffError as error:
        return Finding("ok", f"not tried: {error}")


def _reactor_found() -> Finding:
    from twisted.internet import reactor
    from twisted.internet.protocol import Factory

    from dsadapter.frameworks.twisted import DualStackServerEndpoint
    from dsadapter.frameworks.twisted.reactors import way_of

    name = type(reactor).__name__
    failures: list[Any] = []
    try:
        way = way_of(reactor, "listen", adopts=True)
    except NotImplementedError as error:
        return Finding("advice", str(error), "twist --reactor=select web", name)
    DualStackServerEndpoint(reactor, 0).listen(Factory()).addErrback(failures.append)
    if failures:
        return Finding("problem", f"can't listen: {failures[0].getErrorMessage()}", "", name)
    return Finding("ok", _REACTOR_WAYS[way], "", name)


def _asyncio(question: Question) -> Finding:
    return _loop(question, asyncio.new_event_loop())


def _uvloop(question: Question) -> Finding | None:
    if find_spec("uvloop") is None:
        return None
    import uvloop

    return _loop(question, uvloop.new_event_loop())


def _loop(question: Question, loop: asyncio.AbstractEventLoop) -> Finding:
    name = f"{type(loop).__module__.partition('.')[0]} {type(loop).__name__}"
    try:
        with _kept_off(question):
            way, peer = loop.run_until_complete(_served(keeping_off(question)))
    except CannotKeepOffError as error:
        return Finding("ok", f"not tried: {error}", "", name)
    except OSError as error:
        return Finding("problem", f"can't serve: {said_of(error)}", "", name)
    if peer is None:
        return Finding("ok", f"{way}; 127.0.0.1 can't be connected to", "", name)
    mark = "ok" if peer == "127.0.0.1" else "problem"
    return Finding(mark, f"{way}; 127.0.0.1 is shown as {peer}", "", name)  # type: ignore[arg-type]


async def _served(keep_off: Any) -> tuple[str, str | None]:
    """Which way a listener on the running loop goes, and how it shows an IPv4 client."""
    from dsadapter.frameworks.asyncio import create_server
    from dsadapter.frameworks.asyncio.loop_sockets import AcceptingSocket
    from dsadapter.frameworks.asyncio.server.stream_server import socket_kind

    loop = asyncio.get_running_loop()
    made: asyncio.Future[str] = loop.create_future()

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.set_result(transport.get_extra_info("peername")[0])

    server = await create_server(Protocol, None, 0)
    [sock, *_] = server.sockets
    accepts = issubclass(socket_kind(loop, sock), AcceptingSocket)
    way = "dsadapter accepts for it" if accepts else "it accepts from a socket of dsadapter"
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            keep_off(client)
            client.settimeout(_PATIENCE)
            # The backlog takes it; nobody has to accept for that.
            client.connect(("127.0.0.1", sock.getsockname()[1]))
            return way, await asyncio.wait_for(made, _PATIENCE)
    except OSError:
        return way, None


CHECKS = (
    Check("reactor", "reactor", _reactor, 15.0),
    Check("loop.asyncio", "loop", _asyncio, 15.0),
    Check("loop.uvloop", "loop", _uvloop, 15.0),
)
