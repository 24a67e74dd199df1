"""Sockets of this package and other processes, which want their port or have their handle."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from support.environments import clean_environment
from support.launched import finished, launch

from dsadapter.frameworks import asyncio as dual_stack
from dsadapter.policy import DatagramPolicy, ListenPolicy
from dsadapter.sockets.binding import open_datagram_socket, open_listening_socket

STEALS = """
import json, socket, sys
family, kind, host, port = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
taken = []
for widened in (0, 1) if family == socket.AF_INET6 else (0,):
    with socket.socket(family, kind) as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            thief.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 - widened)
        try:
            thief.bind((host, port))
        except OSError as error:
            continue
        taken.append(widened)
print(json.dumps(taken))
"""
OPENED: dict[str, Callable[[], socket.socket]] = {
    "tcp": lambda: open_listening_socket(ListenPolicy("::", 0)),
    "udp": lambda: open_datagram_socket(DatagramPolicy("::", 0)),
}


@pytest.mark.parametrize("host", ["::", "::1", "0.0.0.0", "127.0.0.1"])
@pytest.mark.parametrize("kind", OPENED)
def test_no_other_process_takes_a_port(kind: str, host: str) -> None:
    with OPENED[kind]() as sock:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        words = [str(int(family)), str(int(sock.type)), host, str(sock.getsockname()[1])]
        done = finished([sys.executable, "-c", STEALS, *words])
    assert json.loads(done.stdout) == [], done.stderr


LOOKS = """
import json, socket, sys
found = []
for number in map(int, sys.argv[1:]):
    try:
        with socket.socket(fileno=number) as sock:
            found.append(str(sock.getsockname()))
    except OSError:
        pass
print(json.dumps(found))
"""


def seen_by_a_child(*numbers: int) -> Any:
    """What a program that inherits all it can makes of handles."""
    done = subprocess.run(
        [sys.executable, "-c", LOOKS, *map(str, numbers)],
        close_fds=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=clean_environment(),
        check=False,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, None])
def test_no_child_inherits_a_handle(loop: Any) -> None:
    handles: list[int] = []

    def kept(sock: Any) -> None:
        handles.append(sock.fileno())

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            kept(writer.get_extra_info("socket"))
            await reader.read()
            writer.close()

        server = await dual_stack.start_server(serve, None, 0)
        for each in server.sockets:
            kept(each)
        port = server.sockets[0].getsockname()[1]
        datagrams, _ = await dual_stack.create_datagram_endpoint(asyncio.DatagramProtocol)
        kept(datagrams.get_extra_info("socket"))
        _, writer = await dual_stack.open_connection("127.0.0.1", port)
        kept(writer.get_extra_info("socket"))
        while len(handles) < 4:
            await asyncio.sleep(0.01)
        assert not any(map(os.get_handle_inheritable, handles))
        assert await asyncio.to_thread(seen_by_a_child, *handles) == []
        writer.close()
        datagrams.close()
        server.close()
        await server.wait_closed()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


LAUNCHED = """
import os, socket
def seen(sock):
    print(os.get_handle_inheritable(sock.fileno()))
for wanted in False, True:
    listening = socket.socket(socket.AF_INET6)
    listening.bind(("::", 0))
    listening.set_inheritable(wanted)
    listening.listen()
    seen(listening)
    with socket.create_connection(("127.0.0.1", listening.getsockname()[1])) as client:
        accepted = listening.accept()[0]
        seen(accepted)
        seen(client)
"""


def test_a_launched_programs_handles_are_inherited_if_it_says_so() -> None:
    done = finished(launch("-c", LAUNCHED))
    assert done.stdout.split() == ["False", "False", "False", "True", "False", "False"], done.stderr
