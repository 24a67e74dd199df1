"""Several sockets of one port: how connections spread, and a restart that loses none."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from typing import Any

import pytest

from dsadapter.handover import Draining, drain, steer
from dsadapter.sockets.listening import listening_socket

BOTH = ("127.0.0.1", "::1")


class Serving:
    """A thread that answers each connection with a name."""

    def __init__(self, name: bytes, port: int = 0) -> None:
        self.name = name
        self.sock = listening_socket("::", port, reuse_port=True)
        self.port: int = self.sock.getsockname()[1]
        self.sock.settimeout(0.02)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def start(self) -> Serving:
        self._thread.start()
        return self

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                accepted, _ = self.sock.accept()
            except TimeoutError:
                continue
            with accepted:
                accepted.sendall(self.name)

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
        self.sock.close()


def ask(host: str, port: int) -> bytes:
    with socket.create_connection((host, port), 20) as client:
        return client.recv(10)


class Load:
    """Clients of both families, one connection after the other."""

    def __init__(self, port: int) -> None:
        self.answers: Counter[bytes] = Counter()
        self.lost: list[Exception] = []
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(host, port)) for host in BOTH for _ in range(2)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, host: str, port: int) -> None:
        while not self._ended.is_set():
            try:
                answer = ask(host, port)
            except OSError as error:
                self.lost.append(error)
            else:
                self.answers[answer] += 1
                if not answer:
                    self.lost.append(EOFError())

    def until(self, name: bytes, more: int) -> None:
        wanted = self.answers[name] + more
        while self.answers[name] < wanted and not self.lost:
            self._ended.wait(0.01)

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()


def test_a_restart_under_load_loses_no_connection() -> None:
    old = Serving(b"0").start()
    load = Load(old.port)
    try:
        for generation in range(1, 6):
            name = b"%d" % generation
            load.until(old.name, 100)
            new = Serving(name, old.port).start()
            steer([new.sock])
            assert drain([old.sock], pause=0.05)
            old.end()
            old = new
        load.until(old.name, 100)
    finally:
        load.end()
        old.end()
    assert load.lost == []
    assert len(load.answers) == 6


def test_new_connections_go_to_the_new_sockets_alone() -> None:
    old = [Serving(b"old").start()]
    old.append(Serving(b"old", old[0].port).start())
    port = old[0].port
    new = [Serving(b"new %d" % number, port).start() for number in range(2)]
    try:
        assert {ask(host, port) for host in BOTH for _ in range(40)} == {b"old", b"new 0", b"new 1"}
        steer([each.sock for each in new])
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
