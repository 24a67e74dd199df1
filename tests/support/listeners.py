"""Listening ports of a test, and a factory that remembers what it was told."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.protocol import Factory, Protocol

from support.reactors import Reactor


class Recorder(Protocol):
    factory: RecordingFactory
    received = b""

    def connectionMade(self) -> None:
        self.factory.made.append(self)

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.lost.append(self)


class RecordingFactory(Factory):
    """Its protocols in the order in which they were made and lost, the addresses that they were
    built with, and how often it has started more than stopped."""

    noisy = False
    protocol = Recorder

    def __init__(self) -> None:
        self.built_with: list[Any] = []
        self.made: list[Any] = []
        self.lost: list[Any] = []
        self.started = 0

    def buildProtocol(self, addr: Any) -> Any:
        self.built_with.append(addr)
        return super().buildProtocol(addr)

    def startFactory(self) -> None:
        self.started += 1

    def stopFactory(self) -> None:
        self.started -= 1


def stop(reactor: Reactor, *ports: Any) -> None:
    """Stop listening, and wait for it."""
    for port in ports:
        reactor.result_of(port.stopListening())


def connects(host: str, port: int) -> bool:
    """Whether somebody listens."""
    try:
        socket.create_connection((host, port)).close()
    except ConnectionRefusedError:
        return False
    return True
