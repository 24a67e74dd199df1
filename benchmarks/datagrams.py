"""CPU time of a Twisted UDP port per datagram, against Twisted's own ``listenUDP``."""

from __future__ import annotations

import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import DatagramProtocol

from benchmarks.rounds import RATIO, Samples, interleave
from benchmarks.table import Table, Target
from dsadapter.frameworks.twisted import DualStackDatagramEndpoint
from dsadapter.packetinfo.senders import Senders

_DATAGRAMS = 1800
"""Datagrams a figure: enough for the clock, few enough for many rounds."""
_SMALL = 100
_LARGE = 1200
# Bursts, and what they may cost.
_TARGETS = {1: 1.10, 8: 1.10, 150: 0.95}
# As many as the default receive buffer of Linux holds.
_LARGE_BURST = 60
_SENDERS = 1_000_000
_IP_PKTINFO = 8
_KINDS = (
    (
        "Receiving datagrams",
        "CPU time of doRead, with packet information for each datagram, while a protocol counts",
    ),
    (
        "Answering datagrams",
        "CPU time of doRead while a protocol answers each datagram from where it was sent to",
    ),
)
_FAMILIES = {"IPv4": (socket.AF_INET, "127.0.0.1"), "IPv6": (socket.AF_INET6, "::1")}


class Sink(DatagramProtocol):
    """Counts datagrams, and answers when it is told to."""

    received = 0
    answers = False

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received += 1
        if self.answers:
            self.transport.write(datagram, addr)  # type: ignore[union-attr]


class Subject:
    """A port and a client of one family."""

    def __init__(self, port: Any, family: str) -> None:
        self.port = port
        self._sink: Sink = port.protocol
        kind, host = _FAMILIES[family]
        self._client = socket.socket(kind, socket.SOCK_DGRAM)
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._client.settimeout(10)
        self._client.connect((host, port.getHost().port))

    def close(self) -> None:
        self._client.close()

    def figure(self, burst: int, size: int, echo: bool, forget: bool = False) -> float:
        """Microseconds of CPU time a datagram."""
        send, receive = self._client.send, self._client.recv
        read, clock = self.port.doRead, time.thread_time_ns
        datagram = bytes(size)
        sink = self._sink
        sink.answers = echo
        turns = max(1, _DATAGRAMS // burst)
        elapsed = 0
        for _ in range(turns):
            before = sink.received
            for _ in range(burst):
                send(datagram)
            if forget:
                self.port._datagrams._receiver._senders.forget()
            start = clock()
            read()
            elapsed += clock() - start
            while sink.received < before + burst:
                # What one turn is allowed to leave.
                start = clock()
                read()
                elapsed += clock() - start
            if echo:
                for _ in range(burst):
                    receive(size)
        return elapsed / turns / burst / 1000


def answers_from_the_address_that_was_asked(port: Any) -> None:
    """:raises AssertionError: if it does not, which makes its figures worthless."""
    port.protocol.answers = True
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.sendto(b"x", ("127.0.0.5", port.getHost().port))
        port.doRead()
        answered_from = client.recvfrom(10)[1][0]
    assert answered_from == "127.0.0.5", answered_from


def tables(rounds: int | None) -> Iterator[Table]:
    rounds = rounds or 30
    reactor = EPollReactor()
    with ExitStack() as stack:
        ours = _endpoint_port(reactor)
        stock = {
            "IPv4": reactor.listenUDP(0, Sink(), interface="127.0.0.1"),
            "IPv6": reactor.listenUDP(0, Sink(), interface="::1"),
        }
        subjects = {
            (name, family): stack.enter_context(closing(Subject(port, family)))
            for family in _FAMILIES
            for name, port in (("dual-stack", ours), ("listenUDP", stock[family]))
        }

        def measure(burst: int, size: int, echo: bool, forget: bool = False) -> Samples:
            def sampled(key: tuple[str, str]) -> Callable[[], float]:
                def sample() -> float:
                    answers_from_the_address_that_was_asked(ours)
                    return subjects[key].figure(
                        burst, size, echo, forget and key[0] == "dual-stack"
                    )

                return sample

            samples = Samples()
            interleave({_label(*key): sampled(key) for key in subjects}, rounds, samples)
            return samples

        for echo, (title, method) in enumerate(_KINDS):
            for burst in _TARGETS:
                target = Target(1.25 if echo else _TARGETS[burst])
                yield _table(
                    f"{title}: {_waiting(burst)} of {_SMALL} bytes",
                    f"{method}, per datagram.",
                    measure(burst, _SMALL, bool(echo)),
                    target,
                )
            yield _table(
                f"{title}: {_waiting(_LARGE_BURST)} of {_LARGE} bytes",
                f"{method}, per datagram.",
                measure(_LARGE_BURST, _LARGE, bool(echo)),
                Target(1.25) if echo else None,
            )
        yield _table(
            f"Receiving datagrams: {_waiting(150)} of {_SMALL} bytes, nothing known before",
            "CPU time of doRead after what was known of senders has been forgotten, per datagram.",
            measure(150, _SMALL, False, forget=True),
            None,
        )
        yield _memory()


def _waiting(burst: int) -> str:
    return f"{burst} waiting" if burst > 1 else "one"


def _label(name: str, family: str) -> str:
    return f"{name}, {family} peer"


def _table(title: str, method: str, samples: Samples, target: Target | None) -> Table:
    table = Table(title, method, samples, "µs")
    for family in _FAMILIES:
        table.compare(_label("dual-stack", family), _label("listenUDP", family), RATIO, target)
    return table


def _memory() -> Table:
    """How much memory distinct senders take for good."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        senders = Senders(sock, "dual-stack", object())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    prefix = bytes(10) + b"\xff\xff"
    for number in range(_SENDERS):
        packed = (1 + number).to_bytes(4, "big")
        name = struct.pack("=HH4x16sI4x", socket.AF_INET6, 9, prefix + packed, 0)
        data = struct.pack("@I4s4s", 1, packed, packed)
        header = struct.pack("@Nii", socket.CMSG_LEN(len(data)), socket.IPPROTO_IP, _IP_PKTINFO)
        control = (header + data).ljust(socket.CMSG_SPACE(len(data)), b"\0")
        senders.of_envelope(name + control, 0)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    table = Table(
        "Memory of distinct senders",
        f"Kilobytes by which the largest resident size of the process grows while {_SENDERS:,} "
        f"distinct senders and destinations are met.",
        Samples(),
        "kB",
    )
    table.count("growth in kB", after - before, Target(8192))
    return table


def _endpoint_port(reactor: Any) -> Any:
    ports: list[Any] = []
    DualStackDatagramEndpoint(reactor, 0).listen(Sink()).addCallback(ports.append)
    return ports[0]
