"""The server of the benchmarks of Trio and AnyIO: ``python -I coroutine_server.py FRAMEWORK
LISTENER``. It talks as ``loop_server.py`` does.
"""

from __future__ import annotations

import resource
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import trio
from anyio.abc import SocketAttribute

sys.path.append(str(Path(__file__).parent))

from loop_server import BACKLOG, Connection, Control, say


async def echo(read: Callable[[], Any], write: Callable[[bytes], Any]) -> None:
    Connection.changed(1)
    try:
        while data := await read():
            await write(data)
    except (OSError, anyio.EndOfStream, anyio.BrokenResourceError, trio.BrokenResourceError):
        pass
    Connection.changed(-1)


async def serve_trio(listener: str, group: Any) -> int:
    async def handler(stream: trio.SocketStream) -> None:
        await echo(stream.receive_some, stream.send_all)
        await trio.aclose_forcefully(stream)

    if listener == "ours":
        from dsadapter.frameworks.trio import open_tcp_listeners

        listeners = await open_tcp_listeners(0, backlog=BACKLOG)
    else:
        host = {"ipv4": "0.0.0.0", "ipv6": "::"}[listener]
        listeners = await trio.open_tcp_listeners(0, host=host, backlog=BACKLOG)
    group.start_soon(trio.serve_listeners, handler, listeners)
    number: int = listeners[0].socket.getsockname()[1]
    return number


async def serve_anyio(listener: str, group: Any) -> int:
    async def handler(stream: Any) -> None:
        await echo(stream.receive, stream.send)
        await anyio.aclose_forcefully(stream)

    made: Any
    if listener == "ours":
        from dsadapter.frameworks.anyio import create_tcp_listener

        made = await create_tcp_listener(backlog=BACKLOG)
    else:
        host = {"ipv4": "0.0.0.0", "ipv6": "::"}[listener]
        made = await anyio.create_tcp_listener(local_host=host, backlog=BACKLOG)
    group.start_soon(made.serve, handler)
    number: int = made.extra(SocketAttribute.local_port)
    return number


async def main(framework: str, listener: str) -> None:
    async with anyio.create_task_group() as group:
        serve = serve_trio if framework == "trio" else serve_anyio
        number = await serve(listener, group)
        control = Control(group.cancel_scope.cancel)
        say(number)
        while True:
            await anyio.wait_readable(sys.stdin)
            control.command()
            await anyio.lowlevel.checkpoint()


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    name, kind = sys.argv[1:]
    backend = "trio" if name in ("trio", "anyio on trio") else "asyncio"
    options: dict[str, Any] = {"use_uvloop": True} if name == "anyio on uvloop" else {}
    socket.setdefaulttimeout(None)
    anyio.run(main, name, kind, backend=backend, backend_options=options)
