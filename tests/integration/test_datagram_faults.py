"""Datagram ports on a system that fails for a moment, or denies a call: they go on."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import selectors
import socket
import time
from typing import Any

import pytest
from support.datagrams import Recorder, listen, peer
from support.faults import Faults
from support.reactors import REACTORS, AsyncioReactor, Reactor
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.logger import globalLogPublisher

pytestmark = pytest.mark.not_on_windows("seccomp is Linux's")

HOSTS = ("127.0.0.1", "::1")
CALLS = {"in batches": "recvmmsg", "one by one": "recvmsg"}
PASSING = ("ENOMEM", "ENOBUFS", "EIO", "EINTR")


def received(reactor: Any, protocol: Recorder, count: int = 1) -> list[bytes]:
    """What the protocol has got within a few turns, in which nothing is late on loopback."""
    for _ in range(10):
        reactor.iterate(0)
        if len(protocol.got) >= count:
            break
    return [data for data, _ in protocol.got]


def send(port: Any, host: str, *payloads: bytes) -> None:
    with peer(host) as skt:
        for payload in payloads:
            skt.sendto(payload, (host, port.getHost().port))


@pytest.mark.parametrize("way", CALLS)
@pytest.mark.parametrize("number", PASSING)
@pytest.mark.parametrize("host", HOSTS)
def test_one_failure_is_survived(reactor: Reactor, way: str, number: str, host: str) -> None:
    faults = Faults("recvmmsg", "recvmsg")
    protocol = Recorder()

    def body() -> None:
        if way == "one by one":
            faults.always("recvmmsg", errno.ENOSYS)
        port = listen(reactor, protocol)
        send(port, host, b"before")
        assert received(reactor, protocol) == [b"before"]
        faults.fail(CALLS[way], getattr(errno, number))
        if way == "one by one":
            # Python calls again after a signal, by itself.
            faults.fail("recvmsg", getattr(errno, number))
        send(port, host, b"during", b"after")
        assert received(reactor, protocol, 3) == [b"before", b"during", b"after"]
        assert port.connected
        reactor.result_of(port.stopListening())

    faults.run(body)


@pytest.mark.parametrize("number", ["EPERM", "ENOSYS", "EACCES", "EOPNOTSUPP", "EINVAL", "ENOMEM"])
@pytest.mark.parametrize("host", HOSTS)
def test_a_sandbox_denies_batches(reactor: Reactor, number: str, host: str) -> None:
    faults = Faults("recvmmsg", "recvmsg")
    protocol = Recorder()

    def body() -> None:
        faults.always("recvmmsg", getattr(errno, number))
        port = listen(reactor, protocol)
        send(port, host, b"one", b"two")
        assert received(reactor, protocol, 2) == [b"one", b"two"]
        asked = faults.asked["recvmmsg"]
        send(port, host, b"three")
        received(reactor, protocol, 3)
        assert faults.asked["recvmmsg"] == asked, "it doesn't learn"
        reactor.result_of(port.stopListening())

    faults.run(body)


@pytest.mark.parametrize("way", CALLS)
@pytest.mark.parametrize("number", ["ENOMEM", "EIO"])
def test_many_failures_are_logged_a_few_times(reactor: Reactor, way: str, number: str) -> None:
    faults = Faults("recvmmsg", "recvmsg")
    protocol = Recorder()
    said: list[Any] = []

    def body() -> None:
        if way == "one by one":
            faults.always("recvmmsg", errno.ENOSYS)
        port = listen(reactor, protocol)
        send(port, "::1", b"before")
        assert received(reactor, protocol) == [b"before"]
        faults.fail(CALLS[way], getattr(errno, number), times=50)
        send(port, "::1", b"after")
        for _ in range(60):
            reactor.iterate(0)
        assert [data for data, _ in protocol.got] == [b"before", b"after"]
        reactor.result_of(port.stopListening())

    globalLogPublisher.addObserver(said.append)
    try:
        faults.run(body)
    finally:
        globalLogPublisher.removeObserver(said.append)
    texts = [event for event in said if os.strerror(getattr(errno, number)) in str(event)]
    assert 1 <= len(texts) < 25


@pytest.mark.parametrize("way", CALLS)
def test_a_port_that_fails_without_end_lets_the_reactor_rest(reactor: Reactor, way: str) -> None:
    faults = Faults("recvmmsg", "recvmsg")
    protocol = Recorder()

    def body() -> None:
        if way == "one by one":
            faults.always("recvmmsg", errno.ENOSYS)
        port = listen(reactor, protocol)
        send(port, "::1", b"before")
        assert received(reactor, protocol) == [b"before"]
        faults.always(CALLS[way], errno.EIO)
        send(port, "::1", b"after")
        reactor.until(lambda: port not in reactor.getReaders())
        faults.heal()
        if way == "one by one":
            faults.always("recvmmsg", errno.ENOSYS)
        reactor.until(lambda: len(protocol.got) == 2)
        reactor.result_of(port.stopListening())

    faults.run(body)


UNREACHABLE = ("EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN")


@pytest.mark.parametrize("way", CALLS)
@pytest.mark.parametrize("number", UNREACHABLE)
def test_a_connected_port_survives_what_is_said_of_its_peer(
    reactor: Reactor, way: str, number: str
) -> None:
    assert said_of_a_peer(reactor, way, number, connected=True) == []


@pytest.mark.parametrize("way", CALLS)
@pytest.mark.parametrize("number", UNREACHABLE)
def test_any_other_port_says_what_it_has_met(reactor: Reactor, way: str, number: str) -> None:
    assert len(said_of_a_peer(reactor, way, number, connected=False)) == 1


def said_of_a_peer(reactor: Reactor, way: str, number: str, connected: bool) -> list[Any]:
    """What the log says about an error that one receive has met; nothing is lost."""
    faults = Faults("recvmmsg", "recvmsg")
    protocol = Recorder()
    said: list[Any] = []

    def body() -> None:
        if way == "one by one":
            faults.always("recvmmsg", errno.ENOSYS)
        port = listen(reactor, protocol)
        with peer("127.0.0.1") as skt:
            address = "127.0.0.1", port.getHost().port
            if connected:
                port.connect(*skt.getsockname())
            skt.sendto(b"before", address)
            assert received(reactor, protocol) == [b"before"]
            globalLogPublisher.addObserver(said.append)
            faults.fail(CALLS[way], getattr(errno, number))
            skt.sendto(b"x", address)
            assert received(reactor, protocol, 2) == [b"before", b"x"]
        globalLogPublisher.removeObserver(said.append)
        reactor.result_of(port.stopListening())

    try:
        faults.run(body)
    finally:
        with contextlib.suppress(ValueError):
            globalLogPublisher.removeObserver(said.append)
    return said


IP_RECVERR = 11
IPV6_RECVERR = 25
EXTENDED = {
    "127.0.0.1": (socket.IPPROTO_IP, IP_RECVERR),
    "::1": (socket.IPPROTO_IPV6, IPV6_RECVERR),
}
EVERY_REACTOR = pytest.mark.parametrize("kind", REACTORS)


class CountingSelector(selectors.DefaultSelector):
    """How often it has found something."""

    found = 0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(timeout)
        self.found += bool(ready)
        return ready


class CountingReactor(AsyncioReactor):
    """One whose turns say nothing of what is ready."""

    def __init__(self) -> None:
        self.selector = CountingSelector()
        AsyncioSelectorReactor.__init__(self, asyncio.SelectorEventLoop(self.selector))


KINDS = {**REACTORS, "asyncio": CountingReactor}


def rests(reactor: Any) -> bool:
    """Whether a reactor soon waits for something to happen, rather than taking turn after turn."""
    if isinstance(reactor, CountingReactor):
        reactor.iterate(0.02)
        before = reactor.selector.found
        reactor.iterate(0.05)
        return reactor.selector.found - before < 10
    for _ in range(30):
        begun = time.monotonic()
        reactor.iterate(0.02)
        if time.monotonic() - begun >= 0.019:
            return True
    return False


class UvloopReactor(AsyncioReactor):
    def __init__(self) -> None:
        uvloop = pytest.importorskip("uvloop")
        AsyncioSelectorReactor.__init__(self, uvloop.new_event_loop())


@pytest.mark.parametrize("kind", [*REACTORS, "uvloop"])
@pytest.mark.parametrize("host", HOSTS)
def test_a_connected_port_hears_a_peer_that_comes_back(kind: str, host: str) -> None:
    reactor = UvloopReactor() if kind == "uvloop" else REACTORS[kind]()
    protocol = Recorder()
    port = listen(reactor, protocol)
    try:
        with peer(host) as skt:
            address = skt.getsockname()
        port.connect(host, address[1])
        port.write(b"to nobody")
        for _ in range(10):
            reactor.iterate(0.005)
        assert protocol.refused == 1
        with socket.socket(
            socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
        ) as skt:
            skt.bind(address)
            skt.sendto(b"back", (host, port.getHost().port))
            for _ in range(10):
                reactor.iterate(0.005)
        assert [data for data, _ in protocol.got] == [b"back"]
    finally:
        reactor.result_of(port.stopListening())
        reactor.close()


@EVERY_REACTOR
@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("host", HOSTS)
def test_it_rests_when_extended_errors_are_asked_for(kind: str, connected: bool, host: str) -> None:
    reactor = KINDS[kind]()
    protocol = Recorder()
    port = listen(reactor, protocol)
    try:
        port.getHandle().setsockopt(*EXTENDED[host], 1)
        with peer(host) as skt:
            gone = skt.getsockname()[1]
        if connected:
            port.connect(host, gone)
        port.write(b"to nobody", (host, gone))
        assert rests(reactor)
        if not connected:
            send(port, host, b"after")
            assert received(reactor, protocol) == [b"after"]
    finally:
        reactor.result_of(port.stopListening())
        reactor.close()


@EVERY_REACTOR
def test_it_rests_when_its_handle_is_shut_down(kind: str) -> None:
    reactor = KINDS[kind]()
    port = listen(reactor, Recorder())
    try:
        with peer("::1") as skt:
            port.connect(*skt.getsockname()[:2])
            port.getHandle().shutdown(socket.SHUT_RDWR)
            assert rests(reactor)
    finally:
        ending = port.stopListening()
        if ending is not None:
            reactor.result_of(ending)
        reactor.close()


@EVERY_REACTOR
def test_it_leaves_a_descriptor_that_is_taken_away(kind: str) -> None:
    reactor = KINDS[kind]()
    protocol = Recorder()
    port = listen(reactor, protocol)
    number = port.getHandle().detach()
    with socket.socket(fileno=number) as taken, peer("127.0.0.1") as skt:
        try:
            skt.sendto(b"for who has taken it", ("127.0.0.1", taken.getsockname()[1]))
            for _ in range(3):
                reactor.iterate(0)
            assert protocol.got == []
            taken.setblocking(False)
            assert taken.recv(100) == b"for who has taken it"
            assert rests(reactor)
        finally:
            with contextlib.suppress(Exception):
                port.stopListening()
            reactor.iterate(0)
            reactor.close()


class Taking(Recorder):
    """Gives its port's socket away with the first datagram, and its number to somebody else."""

    def __init__(self, stranger: socket.socket) -> None:
        super().__init__()
        self.stranger = stranger

    def datagramReceived(self, data: bytes, addr: Any) -> None:
        super().datagramReceived(data, addr)
        if len(self.got) == 1:
            self.number = self.transport.getHandle().detach()
            os.dup2(self.stranger.fileno(), self.number)


@EVERY_REACTOR
def test_a_turn_leaves_a_descriptor_that_is_taken_away(kind: str) -> None:
    reactor = KINDS[kind]()
    with peer("127.0.0.1") as stranger, peer("127.0.0.1") as client:
        client.sendto(b"for the stranger", stranger.getsockname())
        stranger.setblocking(False)
        protocol = Taking(stranger)
        port = listen(reactor, protocol)
        kept: list[bytes] = []
        # More than one batch.
        for _ in range(100):
            client.sendto(b"x", ("127.0.0.1", port.getHost().port))
        try:
            for _ in range(3):
                reactor.iterate(0)
            assert (b"for the stranger", client.getsockname()) not in protocol.got
            with contextlib.suppress(BlockingIOError):
                kept.append(stranger.recv(100))
            assert kept == [b"for the stranger"]
        finally:
            with contextlib.suppress(Exception):
                port.stopListening()
            reactor.iterate(0)
            reactor.close()
            os.close(protocol.number)
