"""An accept that the system denies for good: a server says so, waits, and serves when it may."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from typing import Any

import pytest
from support.faults import Faults
from support.loop_servers import Run, number_of, until
from support.loops import LOOPS
from support.namespaces import needs_root
from support.processes import PATIENCE

from dsadapter.frameworks import asyncio as dual_stack

pytestmark = pytest.mark.not_on_windows("has no seccomp")

HEADER = b"PROXY TCP4 192.0.2.7 192.0.2.8 7000 80\r\n"


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0.01)


@needs_root
@pytest.mark.parametrize("error", ["EPERM", "EACCES", "EMFILE"])
@pytest.mark.parametrize("options", [{}, {"proxy_from": ["127.0.0.1"]}], ids=["plain", "proxied"])
def test_it_says_so_once_and_does_not_spin(run: Run, error: str, options: Any) -> None:
    faults = Faults("accept4")
    told: list[Any] = []

    async def main() -> bytes:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        server = await dual_stack.start_server(lambda _r, w: w.close(), None, 0, **options)
        async with server:
            faults.always("accept4", getattr(errno, error))
            start = time.monotonic()
            with socket.create_connection(("127.0.0.1", number_of(server))) as client:
                await until(lambda: told)
                await turns(20)
                # One that spins asks in each of these turns, which may take a busy machine seconds.
                times = 1 + int(time.monotonic() - start + 0.1)
                assert 1 <= len(told) <= times
                assert faults.asked["accept4"] <= 2 * times
                faults.heal()
                client.settimeout(PATIENCE)
                if options:
                    client.sendall(HEADER)
                return await asyncio.to_thread(client.recv, 1)

    assert faults.run(lambda: run(main)) == b""
    assert os.strerror(getattr(errno, error)) in str(told[0]["exception"])


@needs_root
@pytest.mark.parametrize("error", ["ECONNABORTED", "EPROTO", "ECONNRESET"])
def test_connections_that_fail_alone_keep_no_other_waiting(run: Run, error: str) -> None:
    faults = Faults("accept4")
    told: list[Any] = []

    async def main() -> bytes:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with await dual_stack.start_server(lambda _r, w: w.close(), None, 0) as server:
            faults.fail("accept4", getattr(errno, error), times=30)
            with socket.create_connection(("127.0.0.1", number_of(server))) as client:
                client.settimeout(PATIENCE)
                return await asyncio.to_thread(client.recv, 1)

    assert faults.run(lambda: run(main)) == b""
    assert told == []


@needs_root
def test_a_header_that_can_not_be_waited_for_costs_one_connection() -> None:
    # libuv ends the program then.
    faults = Faults("epoll_ctl")
    told: list[Any] = []

    async def main() -> bytes:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        server = await dual_stack.start_server(
            lambda _r, w: w.close(), None, 0, proxy_from=["127.0.0.1"]
        )
        async with server:
            address = "127.0.0.1", number_of(server)
            await turns(1)
            faults.fail("epoll_ctl", errno.ENOSPC)
            with socket.create_connection(address, timeout=PATIENCE) as client:
                await until(lambda: told)
                assert client.recv(1) == b""
            with socket.create_connection(address, timeout=PATIENCE) as client:
                client.sendall(HEADER)
                return await asyncio.to_thread(client.recv, 1)

    assert faults.run(lambda: LOOPS["asyncio"](main)) == b""
    [context] = told
    assert context["exception"].errno == errno.ENOSPC
