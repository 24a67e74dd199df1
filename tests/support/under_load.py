"""Servers that are replaced while clients of both families connect all the time."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from dsadapter.handover import park
from support.programs import free_port

BOTH = ("127.0.0.1", "::1")
HUNG = 20.0
"""Seconds after which a client gives up; only one whose connection is lost waits so long."""


def connections(short: int) -> int:
    """How many connections to make: few on CI; ``CUTOVER_CONNECTIONS`` says how many else."""
    return int(os.environ.get("CUTOVER_CONNECTIONS", short))


def gentle() -> float:
    """A pause for clients that are few, so that a busy machine has time for what they watch."""
    return 0.0 if "CUTOVER_CONNECTIONS" in os.environ else 0.01


def pair(
    port: int = 0, *, reuse_port: bool = True, behind: Sequence[socket.socket] = ()
) -> list[socket.socket]:
    """An IPv4 socket and a v6-only one of one port, as servers had before.

    :param behind: sockets to go on getting all that is new.
    """
    number = port or free_port()
    return [
        _listening("0.0.0.0", number, reuse_port, behind=behind),
        _listening("::", number, reuse_port, v6only=True, behind=behind),
    ]


def dual(port: int = 0, *, reuse_port: bool = True) -> list[socket.socket]:
    """One dual-stack socket."""
    return [_listening("::", port, reuse_port, v6only=False)]


def _listening(
    host: str,
    port: int,
    reuse_port: bool,
    v6only: bool | None = None,
    behind: Sequence[socket.socket] = (),
) -> socket.socket:
    sock = socket.socket(socket.AF_INET if v6only is None else socket.AF_INET6)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if v6only is not None:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    sock.bind((host, port))
    if behind:
        park([sock], behind)
    sock.listen(1024)
    return sock


class Serving:
    """A thread that answers each connection with a name."""

    def __init__(self, name: bytes, sockets: Sequence[socket.socket]) -> None:
        self.name = name
        self.sockets = list(sockets)
        self.port: int = sockets[0].getsockname()[1]
        for sock in sockets:
            sock.setblocking(False)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._ended.is_set():
            ready, _, _ = select.select(self.sockets, [], [], 0.02)
            for sock in ready:
                try:
                    accepted, _ = sock.accept()
                except BlockingIOError:
                    continue
                with accepted:
                    accepted.sendall(self.name)

    def end(self) -> None:
        """Stop accepting, and close."""
        self._ended.set()
        self._thread.join()
        for sock in self.sockets:
            sock.close()


def ask(host: str, port: int) -> bytes:
    """What a server answers without being asked."""
    with socket.create_connection((host, port), HUNG) as client:
        return client.recv(10)


class Load:
    """Clients of both families, one connection after the other; each has to get an answer.

    :param pause: seconds between two connections of a client, in which others may run.
    """

    def __init__(
        self,
        port: int,
        *,
        ask: Callable[[str, int], bytes] = ask,
        hosts: Sequence[str] = BOTH,
        clients: int = 2,
        pause: float = 0.0,
    ) -> None:
        self.answers: Counter[bytes] = Counter()
        self.lost: list[str] = []
        self.slowest = 0.0
        self._ask = ask
        self._pause = pause
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(host, port))
            for host in hosts
            for _ in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, host: str, port: int) -> None:
        while not self._ended.is_set():
            start = time.monotonic()
            try:
                answer = self._ask(host, port)
            except OSError as error:
                self.lost.append(f"{host}: {error!r}")
            else:
                self.slowest = max(self.slowest, time.monotonic() - start)
                self.answers[answer] += 1
                if not answer:
                    self.lost.append(f"{host}: closed without an answer")
            if self._pause:
                self._ended.wait(self._pause)

    @property
    def total(self) -> int:
        """How many have been answered."""
        return sum(self.answers.values())

    def until(self, name: bytes, more: int) -> None:
        """Wait until so many more have been answered by one server."""
        wanted = self.answers[name] + more
        while self.answers[name] < wanted and not self.lost:
            self._ended.wait(0.01)

    def until_total(self, wanted: int) -> None:
        """Wait until so many have been answered."""
        while self.total < wanted and not self.lost:
            self._ended.wait(0.01)

    def end(self) -> None:
        """Stop, with the last answer."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
