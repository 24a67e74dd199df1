"""An event of somebody else's socket, closed in the same turn, under a listening port's number."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.listeners import RecordingFactory, connects, stop
from support.reactors import REACTORS
from twisted.internet.interfaces import IReadWriteDescriptor
from zope.interface import implementer

from dsadapter.frameworks.twisted import DualStackServerEndpoint
from dsadapter.testing import RecordingPlugin, registered


@pytest.fixture(params=REACTORS)
def reactor(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = REACTORS[request.param]()
    yield made
    made.close()


@implementer(IReadWriteDescriptor)
class Watched:
    """A socket of the application in the reactor."""

    def __init__(self, sock: socket.socket, ready: Callable[[], None]) -> None:
        self.sock, self.ready = sock, ready

    def fileno(self) -> int:
        return self.sock.fileno()

    def logPrefix(self) -> str:
        return "watched"

    def doRead(self) -> None:
        self.ready()

    def doWrite(self) -> None:
        self.ready()

    def connectionLost(self, reason: Any) -> None:
        pass


@pytest.mark.parametrize("interface", ["::", "localhost"])
def test_it_does_not_end_the_port(reactor: Any, interface: str) -> None:
    ports: list[Any] = []
    near, far = socket.socketpair()
    refused = socket.socket()
    refused.setblocking(False)
    # Nobody listens there.
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        where = nobody.getsockname()
    first = Watched(near, lambda: None)
    second = Watched(refused, lambda: None)

    def turn() -> None:
        reactor.removeReader(first)
        reactor.removeWriter(second)
        number = refused.fileno()
        refused.close()
        endpoint = DualStackServerEndpoint(reactor, 0, interface=interface)
        endpoint.listen(RecordingFactory()).addCallback(ports.append)
        assert number in [reader.fileno() for reader in reactor.getReaders()]

    first.ready = turn
    reactor.addReader(first)
    reactor.addWriter(second)
    far.send(b"x")
    refused.connect_ex(where)
    with registered(RecordingPlugin()) as recording:
        for _ in range(3):
            reactor.iterate(0)
        [port] = ports
        assert recording.of("listener_closed") == []
        served = ["::1", "127.0.0.1"]
        assert [host for host in served if connects(host, port.getHost().port)] == served
        before = len(port.factory.made)
        reactor.until(lambda: len(port.factory.made) >= before + 2)
        stop(reactor, port)
        assert recording.of("listener_closed") == [port]
    near.close()
    far.close()


@pytest.mark.not_on_windows("it has neither epoll nor poll, which tell of it")
@pytest.mark.parametrize("reactor", ["epoll", "poll"], indirect=True)
def test_a_listening_socket_that_was_shut_down_ends_the_port(reactor: Any) -> None:
    with registered(RecordingPlugin()) as recording:
        endpoint = DualStackServerEndpoint(reactor, 0)
        port = reactor.result_of(endpoint.listen(RecordingFactory()))
        port.socket.shutdown(socket.SHUT_RDWR)
        reactor.until(lambda: recording.of("listener_closed"))
