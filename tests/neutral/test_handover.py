"""Several sockets of one port: how connections spread, and a restart that loses none."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest
from support.under_load import BOTH, Load, Serving, ask, gentle

from dsadapter.handover import Draining, drain, steer
from dsadapter.sockets.listening import listening_socket

pytestmark = pytest.mark.not_on_windows("sockets share a port by SO_REUSEPORT")


def serving(name: bytes, port: int = 0) -> Serving:
    return Serving(name, [listening_socket("::", port, reuse_port=True)])


def test_a_restart_under_load_loses_no_connection() -> None:
    old = serving(b"0")
    load = Load(old.port, pause=gentle())
    try:
        for generation in range(1, 6):
            name = b"%d" % generation
            load.until(old.name, 100)
            new = serving(name, old.port)
            steer(new.sockets)
            assert drain(old.sockets, pause=0.05)
            old.end()
            old = new
        load.until(old.name, 100)
    finally:
        load.end()
        old.end()
    assert load.lost == []
    assert len(load.answers) == 6


def test_new_connections_go_to_the_new_sockets_alone() -> None:
    old = [serving(b"old")]
    old.append(serving(b"old", old[0].port))
    port = old[0].port
    new = [serving(b"new %d" % number, port) for number in range(2)]
    try:
        assert {ask(host, port) for host in BOTH for _ in range(40)} == {b"old", b"new 0", b"new 1"}
        steer([sock for each in new for sock in each.sockets])
        for host in BOTH:
            assert {ask(host, port) for _ in range(40)} == {b"new 0", b"new 1"}
    finally:
        for each in [*old, *new]:
            each.end()


def test_a_queue_is_empty_when_it_was_so_twice() -> None:
    with listening_socket("::", 0) as sock:
        draining = Draining([sock])
        assert not draining.look()
        with socket.create_connection(("127.0.0.1", sock.getsockname()[1])):
            assert not draining.look()
            assert not drain([sock], pause=0.01, timeout=0.03)
            sock.accept()[0].close()
            assert [draining.look(), draining.look()] == [False, True]


WORKER = """
import os, sys, socket
from dsadapter.sockets.listening import inherited_sockets, listening_socket
kind, number = sys.argv[1], int(sys.argv[2])
if kind == "fd":
    [sock] = inherited_sockets(fd=number)
else:
    sock = listening_socket("::", number, reuse_port=True)
print("ready", flush=True)
kept = []
while True:
    accepted, peer = sock.accept()
    accepted.sendall(f"{os.getpid()} {peer[0]}".encode())
    kept.append(accepted)
"""


@pytest.fixture(params=["reuse_port", "fd"])
def workers(request: pytest.FixtureRequest) -> Any:
    """The port of three worker processes: each has a socket of its own, or all have one."""
    with listening_socket("::", 0, reuse_port=request.param == "reuse_port") as sock:
        port = sock.getsockname()[1]
        number = sock.fileno() if request.param == "fd" else port
        passed = [number] if request.param == "fd" else []
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER, request.param, str(number)],
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=passed,
            )
            for _ in range(3)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
    yield port, processes
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_workers_share_both_families_and_one_that_dies_loses_its_own_alone(workers: Any) -> None:
    port, processes = workers
    served: dict[int, dict[str, list[socket.socket]]] = {
        process.pid: {host: [] for host in BOTH} for process in processes
    }
    # As long as it takes: the kernel chooses.
    for _ in range(2000):
        if all(clients[host] for clients in served.values() for host in BOTH):
            break
        for host in BOTH:
            client = socket.create_connection((host, port), 20)
            pid, peer = client.recv(100).decode().split()
            assert peer == host
            served[int(pid)][host].append(client)
    else:
        pytest.fail(f"a worker has got none: {served}")

    victim = processes[0]
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    for pid, clients in served.items():
        for client in (each for host in BOTH for each in clients[host]):
            client.settimeout(0.001 if pid != victim.pid else 20)
            if pid == victim.pid:
                assert client.recv(1) == b""
            else:
                with pytest.raises(TimeoutError):
                    client.recv(1)
            client.close()
    for host in BOTH:
        for _ in range(20):
            with socket.create_connection((host, port), 20) as client:
                assert int(client.recv(100).split()[0]) != victim.pid


def test_it_takes_no_rights() -> None:
    child = os.fork()
    if not child:
        try:
            if os.getuid() == 0:
                os.setresuid(65534, 65534, 65534)
            with listening_socket("::", 0, reuse_port=True) as old:
                port = old.getsockname()[1]
                with listening_socket("::", port, reuse_port=True) as new:
                    steer([new])
                    new.settimeout(20)
                    with socket.create_connection(("127.0.0.1", port)):
                        new.accept()[0].close()
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
