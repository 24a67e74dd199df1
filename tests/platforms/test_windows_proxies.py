"""The standard library's servers behind proxies on Windows, asked from this machine."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.processes import PATIENCE
from support.programs import FAMILIES, LOOPBACK, curl, leaks, listening_sockets, serving
from support.proxy_headers import MAPPED, version_1, version_2
from support.wine import Windows, path_of_windows

PROGRAM = Path(__file__).with_name("programs") / "proxied_site.py"


def test_a_server_behind_proxies_serves_its_clients_by_their_names(windows: Windows) -> None:
    def command(port: int) -> list[str]:
        return windows.command("-X", "dev", path_of_windows(PROGRAM), str(port))

    with serving(command, env=windows.environment) as (server, port), ExitStack() as slow:
        [_] = listening_sockets(port)
        for family in FAMILIES:
            host = LOOPBACK[family]
            waiting = socket.create_connection((host, port), PATIENCE)
            slow.enter_context(waiting).sendall(b"PROXY TCP")
            assert curl(family, port, "--haproxy-protocol").endswith(f"hello {host}\n")
            with pytest.raises(AssertionError, match="curl"):
                curl(family, port)
            for header in (version_1(*MAPPED), version_2(*MAPPED)):
                with socket.create_connection((host, port), PATIENCE) as client:
                    client.sendall(header + b"GET / HTTP/1.0\r\n\r\n")
                    answer = b"".join(iter(lambda c=client: c.recv(1000), b""))
                assert answer.endswith(b"hello 192.0.2.1\n")
        log = server.stop()

    assert leaks(log) == []
    assert "192.0.2.1 - - " in log
    assert "Traceback" not in log
