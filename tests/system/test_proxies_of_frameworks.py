"""A real HAProxy in front of servers of the other frameworks: the client arrives end to end."""

from __future__ import annotations

import re
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.namespaces import Namespace, namespace, needs_root
from support.processes import PATIENCE, running_command
from support.programs import until

PAGE = Path(__file__).parents[2] / "docs" / "proxy-protocol.md"

pytestmark = [
    needs_root,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs haproxy"),
]

CONFIGURATION = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s

frontend web
    bind :::80 v4v6
    default_backend web

backend web
    balance roundrobin
    server a 10.0.0.1:8080 send-proxy source 10.0.0.1
    server b [2001:db8::1]:8080 send-proxy-v2 source [2001:db8::1]
"""

TRIO = """
import trio
from dsadapter.frameworks.trio import serve_tcp

async def handle(stream):
    await stream.receive_some(1000)
    print(stream.socket.getpeername()[0], '"GET', flush=True)
    await stream.send_all(b"HTTP/1.0 204 None\\r\\n\\r\\n")

trio.run(lambda: serve_tcp(handle, 8080, proxy_from=["10.0.0.1", "2001:db8::1"]))
"""

ANYIO = """
import anyio
from anyio.abc import SocketAttribute
from dsadapter.frameworks.anyio import create_tcp_listener

async def handle(stream):
    async with stream:
        await stream.receive(1000)
        print(stream.extra(SocketAttribute.remote_address)[0], '"GET', flush=True)
        await stream.send(b"HTTP/1.0 204 None\\r\\n\\r\\n")

async def main():
    proxies = ["10.0.0.1", "2001:db8::1"]
    async with await create_tcp_listener(local_port=8080, proxy_from=proxies) as listener:
        await listener.serve(handle)

anyio.run(main)
"""


def of_the_page() -> str:
    """The program of the page that serves with the standard library."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    [program] = [block for block in blocks if "http.server" in block]
    return program


PROGRAMS = {"the standard library": of_the_page(), "trio": TRIO, "anyio": ANYIO}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Namespace]:
    """HAProxy, which connects from addresses that no client has."""
    configuration = tmp_path_factory.mktemp("haproxy") / "haproxy.cfg"
    configuration.write_text(CONFIGURATION)
    with namespace() as made:
        made.add_addresses("lo", "10.0.0.1/32", "2001:db8::1/128")
        argv = [*made.prefix, "haproxy", "-db", "-f", str(configuration)]
        with running_command(argv) as proxy:
            until(lambda: ":80 " in made.run("ss", "-Hltn"), proxy)
            yield made


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_server_sees_the_client(machine: Namespace, program: str) -> None:
    argv = [*machine.prefix, sys.executable, "-u", "-c", PROGRAMS[program]]
    with running_command(argv) as server:
        until(lambda: ":8080 " in machine.run("ss", "-Hltn"), server)
        for client in ("127.0.0.1", "::1"):
            # One after the other by IPv4 in version 1, and by IPv6 in version 2.
            for _ in range(2):
                with (
                    machine.entered(),
                    socket.create_connection((client, 80), timeout=PATIENCE) as sock,
                ):
                    sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    assert sock.recv(100).startswith(b"HTTP/1."), server.log()
            lines = rf'^{client} .*"GET'
            until(lambda w=lines: len(re.findall(w, server.log(), re.MULTILINE)) == 2, server)
        assert "10.0.0.1" not in server.log()
        assert "::ffff:" not in server.log()
