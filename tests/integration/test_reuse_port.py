"""Sharing a port between a dual-stack and an IPv4 listener, which Linux does silently."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from support.listeners import stop
from support.reactors import Reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import globalLogPublisher

from dsadapter.frameworks.twisted import DualStackServerEndpoint

pytestmark = pytest.mark.not_on_windows("has no SO_REUSEPORT")


class Counting(Factory):
    noisy = False

    def __init__(self) -> None:
        self.peers: list[str] = []

    def buildProtocol(self, addr: Any) -> Protocol:
        self.peers.append(addr.host)
        return Protocol()


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    kept: list[str] = []

    def observe(event: Any) -> None:
        if (
            event.get("log_namespace", "").startswith("dsadapter")
            and event["log_level"].name == "warn"
        ):
            kept.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(observe)
    yield kept
    globalLogPublisher.removeObserver(observe)


def listen(reactor: Reactor, port: int, interface: str = "::") -> Any:
    endpoint = DualStackServerEndpoint(reactor, port, interface=interface, reusePort=True)
    return reactor.result_of(endpoint.listen(Counting()))


def connect_often(reactor: Reactor, number: int, *ports: Any) -> list[int]:
    """How many of 20 IPv4 connections each of the ports got."""
    clients = [socket.create_connection(("127.0.0.1", number)) for _ in range(20)]
    reactor.until(lambda: sum(len(port.factory.peers) for port in ports) == 20)
    for client in clients:
        client.close()
    for _ in range(3):
        reactor.iterate(0)
    return [len(port.factory.peers) for port in ports]


@contextlib.contextmanager
def somebody(host: str, port: int, reuse: bool = True) -> Iterator[int]:
    with socket.socket() as sock:
        if reuse:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        sock.listen()
        yield sock.getsockname()[1]


def test_a_later_IPv4_listener_takes_every_IPv4_connection_and_a_warning_says_so(
    reactor: Reactor, warnings: list[str]
) -> None:
    dual = listen(reactor, 0)
    number = dual.getHost().port
    assert connect_often(reactor, number, dual) == [20]
    dual.factory.peers.clear()
    thief = listen(reactor, number, "0.0.0.0")
    assert connect_often(reactor, number, dual, thief) == [0, 20]
    assert warnings == [
        (
            f"a dual-stack socket listens on port {number}, too; 0.0.0.0:{number} takes its IPv4 "
            f"connections from it. Close one of the two"
        )
    ]
    stop(reactor, dual, thief)


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_an_earlier_IPv4_listener_is_found(
    reactor: Reactor, warnings: list[str], host: str
) -> None:
    with somebody(host, 0) as number:
        dual = listen(reactor, number)
        with socket.create_connection(("127.0.0.1", number)):
            for _ in range(3):
                reactor.iterate(0)
        assert dual.factory.peers == []
        stop(reactor, dual)
    assert warnings == [
        (
            f"{host}:{number} of another socket shares the port with [::]:{number} and takes its "
            f"IPv4 connections from it. Close that one, or make it dual-stack, too"
        )
    ]


def test_listeners_that_share_fairly_are_no_reason_to_warn(
    reactor: Reactor, warnings: list[str]
) -> None:
    dual = listen(reactor, 0)
    number = dual.getHost().port
    second = listen(reactor, number)
    stop(reactor, dual, second)
    ipv4 = listen(reactor, number, "0.0.0.0")
    second = listen(reactor, number, "0.0.0.0")
    stop(reactor, ipv4, second)
    ipv6 = listen(reactor, 0, "::1")
    ipv4 = listen(reactor, ipv6.getHost().port, "127.0.0.1")
    stop(reactor, ipv4, ipv6)
    assert warnings == []
