"""Several processes of one port, by the commands and the code of ``docs/processes.md``."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.namespaces import Namespace, namespace, needs_root
from support.processes import PATIENCE, Server, running, running_command
from support.programs import until
from support.under_load import BOTH, Load, gentle

PAGE = Path(__file__).parents[2] / "docs" / "processes.md"
PROGRAM = Path(__file__).parent / "programs" / "restarting_server.py"
WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.getuid() == 0 else ()
"""A prefix for commands: root, but for its rights, can read this interpreter's files."""


def commands() -> list[list[str]]:
    """Those of the page that start a worker each."""
    block = re.search(r"^```console\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    lines = block[1].splitlines()
    return [shlex.split(line.removeprefix("$ ").removesuffix("&")) for line in lines]


@pytest.fixture
def machine() -> Iterator[Namespace]:
    with namespace() as made:
        yield made


def workers_of(machine: Namespace) -> dict[tuple[str, int], int]:
    """The process that has the server's end of each connection, by the client's address."""
    found = {}
    for line in machine.run("ss", "-Htnp", "state", "established", "sport = :8080").splitlines():
        peer, process = line.split()[3], re.search(r"pid=(\d+)", line)
        if process is None:
            # It waits to be accepted.
            continue
        host, _, port = peer.rpartition(":")
        found[host.strip("[]").removeprefix("::ffff:"), int(port)] = int(process[1])
    return found


@needs_root
@pytest.mark.parametrize("way", ["a socket each", "one socket"])
def test_connections_of_both_families_spread_and_a_worker_that_dies_loses_its_own(
    machine: Namespace, way: str
) -> None:
    with contextlib.ExitStack() as stack:
        passed: list[int] = []
        if way == "one socket":
            with machine.entered():
                opened = socket.create_server(
                    ("::", 8080), family=socket.AF_INET6, dualstack_ipv6=True
                )
            passed = [stack.enter_context(opened).fileno()]
        servers: dict[int, Server] = {}
        for program, *arguments in commands():
            if passed:
                arguments = ["web", f"--listen=dualstack:fd={passed[0]}"]
            argv = [*machine.prefix, str(Path(sys.executable).with_name(program)), *arguments]
            server = stack.enter_context(running_command(argv, pass_fds=passed))
            server.wait_for_log("listening on [::]:8080 for IPv4 and IPv6")
            servers[server.process.pid] = server
        assert len(servers) == 2
        clients: dict[tuple[str, int], socket.socket] = {}
        everybody = {pid: set(BOTH) for pid in servers}
        # As long as it takes: the kernel chooses.
        while True:
            with machine.entered():
                for host in (*BOTH, *BOTH, *BOTH):
                    client = stack.enter_context(socket.create_connection((host, 8080), PATIENCE))
                    clients[client.getsockname()[:2]] = client
            until(lambda: len(workers_of(machine)) == len(clients), server)
            workers = workers_of(machine)
            shares = {
                pid: {host for host, port in workers if workers[host, port] == pid}
                for pid in servers
            }
            if shares == everybody:
                break
            assert len(clients) < 600, shares

        victim = next(iter(servers))
        servers[victim].process.send_signal(signal.SIGKILL)
        servers[victim].process.wait(PATIENCE)
        for address, client in clients.items():
            if workers[address] == victim:
                with contextlib.suppress(ConnectionResetError):
                    assert client.recv(1) == b""
            else:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert client.recv(7) == b"HTTP/1."
        for host in BOTH:
            with machine.entered():
                client = stack.enter_context(socket.create_connection((host, 8080), PATIENCE))
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert client.recv(7) == b"HTTP/1."


def test_a_restart_under_load_loses_no_connection_and_takes_no_rights() -> None:
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(running(PROGRAM, str(PAGE), "0", "0", prefix=WITHOUT_RIGHTS))
        event = old.event()
        assert event["rights"] == 0
        port = event["port"]
        load = Load(port, pause=gentle())
        try:
            load.until(b"0", 100)
            for generation in range(1, 3):
                name = str(generation)
                new = stack.enter_context(
                    running(PROGRAM, str(PAGE), name, str(port), prefix=WITHOUT_RIGHTS)
                )
                new.event()
                old.process.send_signal(signal.SIGUSR1)
                assert old.process.wait(PATIENCE) == 0, old.log()
                old = new
                load.until(name.encode(), 100)
        finally:
            load.end()
    assert load.lost == []
    assert set(load.answers) == {b"0", b"1", b"2"}
