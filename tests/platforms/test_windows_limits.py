"""Servers on completion ports where there is no descriptor left: the server of Wine, which holds
every socket, gets no more. Its accept then fails with WSAEINVAL, where Windows' has WSAEMFILE."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import PATIENCE, Server
from support.programs import leaks
from support.wine import Windows

PROGRAM = Path(__file__).parent / "programs" / "naming_server.py"
AGAIN = "accepts again in 1 s"
HEADER = b"PROXY TCP4 192.0.2.7 192.0.2.8 7000 80\r\n"
_WATCHED = 2.5
"""Seconds in which one that spins takes a third of a processor, as it waits for Wine's server most
of the time, and one that rests a hundredth of a second."""


@contextlib.contextmanager
def no_descriptor_left(windows: Windows) -> Iterator[None]:
    """Not one more for any socket of the programs of a Windows."""
    before = resource.prlimit(windows.server, resource.RLIMIT_NOFILE)
    taken = {int(name) for name in os.listdir(f"/proc/{windows.server}/fd")}
    free = min(set(range(len(taken) + 1)) - taken)
    resource.prlimit(windows.server, resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        yield
    finally:
        resource.prlimit(windows.server, resource.RLIMIT_NOFILE, before)


def processor_time(server: Server) -> float:
    """Seconds that it has taken; Wine's server is busy with what other tests have left, too."""
    stat = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def asked(host: str, port: int, header: bytes) -> socket.socket:
    client = socket.create_connection((host, port), timeout=PATIENCE)
    client.sendall(header)
    return client


def answer(client: socket.socket) -> bytes:
    with client:
        return b"".join(iter(lambda: client.recv(100), b""))


@pytest.mark.parametrize(
    ("loop", "proxied"), [("proactor", ""), ("proactor", "-proxied"), ("iocp", "")]
)
def test_a_server_waits_for_descriptors_and_serves_on(
    windows: Windows, loop: str, proxied: str
) -> None:
    header = HEADER if proxied else b""
    names = {host: b"192.0.2.7" if proxied else host.encode() for host in ("127.0.0.1", "::1")}
    with windows.program(PROGRAM, loop + proxied) as server:
        port = server.event()["port"]
        for host, name in names.items():
            assert answer(asked(host, port, header)) == name
        begun = time.monotonic()
        with no_descriptor_left(windows):
            waiting = [asked(host, port, header) for host in names]
            server.wait_for_log(AGAIN)
            used = processor_time(server)
            time.sleep(_WATCHED)
            assert processor_time(server) - used < _WATCHED / 10, "it spins"
        for client, name in zip(waiting, names.values(), strict=True):
            assert answer(client) == name
        for host, name in names.items():
            assert answer(asked(host, port, header)) == name
        log = server.log()
        assert log.count(AGAIN) <= 2 + time.monotonic() - begun
        assert leaks(log) == []
