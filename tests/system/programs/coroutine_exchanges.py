"""Under Trio, and AnyIO on each back end: a connection and a datagram to an address, and what is
said of another one. Prints what each has seen, a JSON object a line.

    python coroutine_exchanges.py HOST OTHER
"""

from __future__ import annotations

import json
import sys
from typing import Any

import anyio
import trio
from anyio.abc import SocketAttribute

from dsadapter.frameworks import anyio as dual_anyio
from dsadapter.frameworks import trio as dual_trio

HOST, OTHER = sys.argv[1:]


async def by_trio() -> dict[str, Any]:
    listeners = await dual_trio.open_tcp_listeners(0)
    port = listeners[0].socket.getsockname()[1]
    hosts = [each.socket.getsockname()[0] for each in listeners]
    seen: dict[str, Any] = {"sockets": hosts}
    client = await dual_trio.open_tcp_stream(HOST, port)
    server = await listeners[place_of(hosts)].accept()
    seen["peers"] = [client.socket.getpeername()[0], server.socket.getpeername()[0]]
    seen["other"] = await said_by(dual_trio.open_tcp_stream(OTHER, port))
    for each in (client, server, *listeners):
        await each.aclose()
    asked, asking = await dual_trio.open_udp_socket(), await dual_trio.open_udp_socket()
    await asking.sendto(b"x", (HOST, asked.getsockname()[1]))
    _, sender = await asked.recvfrom(10)
    await asked.sendto(b"y", sender)
    _, answering = await asking.recvfrom(10)
    asked.close()
    asking.close()
    return seen | {"senders": [sender[0], answering[0]]}


async def by_anyio() -> dict[str, Any]:
    listeners = await dual_anyio.create_tcp_listener()
    port = listeners.extra(SocketAttribute.local_port)
    hosts = [each.extra(SocketAttribute.local_address)[0] for each in listeners.listeners]
    seen: dict[str, Any] = {"sockets": hosts}
    client = await dual_anyio.connect_tcp(HOST, port)
    server = await listeners.listeners[place_of(hosts)].accept()
    seen["peers"] = [each.extra(SocketAttribute.remote_address)[0] for each in (client, server)]
    seen["other"] = await said_by(dual_anyio.connect_tcp(OTHER, port))
    for each in (client, server, listeners):
        await each.aclose()
    async with await dual_anyio.create_udp_socket() as asked:
        port = asked.extra(SocketAttribute.local_port)
        async with await dual_anyio.create_connected_udp_socket(HOST, port) as asking:
            await asking.send(b"x")
            _, sender = await asked.receive()
            await asked.sendto(b"y", *sender)
            await asking.receive()
            answering = asking.extra(SocketAttribute.remote_address)
    return seen | {"senders": [sender[0], answering[0]]}


def place_of(hosts: list[str]) -> int:
    """Which listener has the connections to the host."""
    families = [":" in host for host in hosts]
    return families.index(":" in HOST) if len(hosts) > 1 else 0


async def said_by(connecting: Any) -> str:
    """The error of a connect; empty where there is none."""
    try:
        await (await connecting).aclose()
    except OSError as error:
        return str(error)
    return ""


def main() -> None:
    runs = {
        "trio": lambda: trio.run(by_trio),
        "anyio asyncio": lambda: anyio.run(by_anyio),
        "anyio uvloop": lambda: anyio.run(by_anyio, backend_options={"use_uvloop": True}),
        "anyio trio": lambda: anyio.run(by_anyio, backend="trio"),
    }
    for name, run in runs.items():
        print(json.dumps({"way": name, **run()}), flush=True)


main()
