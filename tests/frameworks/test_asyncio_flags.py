"""``flags`` mean what they mean to the loop's own functions."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from support.loop_servers import Run, number_of
from support.loops import LOOPS
from support.windows import lacking_in_wine

from dsadapter.frameworks import asyncio as dual_stack

NO_FLAGS = 1 << 30
# EAI numbers, names and texts are the system's.
SERVERS = [
    ({}, {"flags": socket.AI_NUMERICHOST}),
    ({"host": "localhost"}, {"flags": socket.AI_NUMERICHOST}),
    ({"host": "127.0.0.1"}, {"flags": socket.AI_NUMERICHOST | socket.AI_PASSIVE}),
    ({"host": "127.0.0.1", "port": "domain"}, {"flags": socket.AI_NUMERICSERV}),
    ({"host": "127.0.0.1", "port": "0"}, {"flags": socket.AI_NUMERICSERV}),
    ({"host": "127.0.0.1"}, {"flags": NO_FLAGS}),
]


async def listened(by_loop: bool, where: dict[str, Any], options: dict[str, Any]) -> Any:
    """The hosts that a server listens on, or the number of the error."""
    create: Any = asyncio.get_running_loop().create_server if by_loop else None
    create = create or dual_stack.create_server
    asked = {"host": None, "port": 0, **where}
    try:
        server = await create(asyncio.Protocol, **asked, **options)
    except socket.gaierror as error:
        return error.errno
    async with server:
        return {sock.getsockname()[0] for sock in server.sockets}


@pytest.mark.parametrize(("where", "options"), SERVERS)
def test_a_server_listens_where_the_loops_own_does(
    run: Run, where: dict[str, Any], options: dict[str, Any]
) -> None:
    own = asyncio.SelectorEventLoop()
    try:
        expected = own.run_until_complete(listened(True, where, options))
    finally:
        own.close()
    assert run(lambda: listened(False, where, options)) == expected


@pytest.mark.parametrize("host", [None, ""])
def test_without_a_host_and_passive_a_server_is_this_machines_alone(run: Run, host: Any) -> None:
    where = {"host": host}
    assert run(lambda: listened(False, where, {"flags": 0})) == {"127.0.0.1", "::1"}
    assert run(lambda: listened(False, where, {})) == {"::"}


@pytest.mark.parametrize(
    "flags", [socket.AI_ADDRCONFIG, socket.AI_CANONNAME, socket.AI_PASSIVE, socket.AI_NUMERICSERV]
)
def test_a_name_is_looked_up_with_them(flags: int) -> None:
    asked: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        getaddrinfo = loop.getaddrinfo

        async def watched(*args: Any, **options: Any) -> Any:
            asked.append(options["flags"])
            return await getaddrinfo(*args, **options)

        loop.getaddrinfo = watched  # type: ignore[assignment]
        async with await dual_stack.start_server(lambda _r, w: w.close(), "localhost", 0) as server:
            number = number_of(server)
            _, writer = await dual_stack.open_connection("localhost", number, flags=flags)
            writer.close()
            transport, _ = await dual_stack.create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=("localhost", 9), flags=flags
            )
            transport.close()
            await asyncio.sleep(0.01)

    # Other loops' methods are read-only.
    LOOPS["asyncio"](main)
    assert asked == [flags, flags]


@lacking_in_wine("passes over flags that getaddrinfo does not know")
def test_what_the_resolver_does_not_know_is_refused(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(socket.gaierror):
            await dual_stack.create_connection(asyncio.Protocol, "localhost", 9, flags=NO_FLAGS)
        with pytest.raises(socket.gaierror):
            await dual_stack.create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=("localhost", 9), flags=NO_FLAGS
            )

    run(main)


def test_what_is_no_number_is_refused(run: Run) -> None:
    flags: Any = "AI_PASSIVE"

    async def main() -> None:
        kind, said = TypeError, "'AI_PASSIVE' is no number"
        with pytest.raises(kind, match=said):
            await dual_stack.create_connection(asyncio.Protocol, "127.0.0.1", 9, flags=flags)
        with pytest.raises(kind, match=said):
            await dual_stack.create_server(asyncio.Protocol, "127.0.0.1", 0, flags=flags)
        with pytest.raises(kind, match=said):
            await dual_stack.create_datagram_endpoint(
                asyncio.DatagramProtocol, ("127.0.0.1", 0), flags=flags
            )

    run(main)
