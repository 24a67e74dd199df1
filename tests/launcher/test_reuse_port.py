"""``dsadapter run --reuse-port``: listeners that share their port, whoever opens them."""

from __future__ import annotations

import sys

import pytest
from support.environments import clean_environment
from support.launched import launch
from support.processes import running_command
from support.under_load import dual

SOCKET = """
import socket
sock = socket.create_server(("::", port), family=socket.AF_INET6)
"""
OURS = """
from dsadapter.sockets.listening import listening_socket
sock = listening_socket("::", port)
"""
ASYNCIO = """
import asyncio
asyncio.new_event_loop().run_until_complete(asyncio.start_server(print, "::", port))
"""
TWISTED = """
from twisted.internet import protocol, reactor
reactor.listenTCP(port, protocol.Factory(), interface="::")
"""
UVLOOP = """
import asyncio, uvloop
uvloop.new_event_loop().run_until_complete(asyncio.start_server(print, "::", port))
"""


@pytest.mark.parametrize("opens", [SOCKET, OURS, ASYNCIO, TWISTED, UVLOOP])
def test_a_listener_shares_its_port(opens: str) -> None:
    [held] = dual()
    port = held.getsockname()[1]
    source = f"import sys\nport = {port}\n{opens}\nprint('listening', flush=True)\nsys.stdin.read()"
    program = [sys.executable, "-c", source]
    for options, found in (((), "Errno 98"), (("--reuse-port",), "listening")):
        with running_command(launch(*program, options=options), env=clean_environment()) as server:
            server.wait_for_log(found)
    held.close()
