"""Twisted's ``tls:`` client string around ``dualstack:``, with a private authority."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Files, in_string, older_pyopenssl_api
from support.listeners import RecordingFactory, stop
from support.reactors import Reactor
from twisted.internet.endpoints import clientFromString, quoteStringArgument, serverFromString
from twisted.internet.protocol import Factory, Protocol

pytestmark = [older_pyopenssl_api, pytest.mark.usefixtures("global_clock")]


class Answering(Protocol):
    factory: RecordingFactory

    def connectionMade(self) -> None:
        self.factory.made.append(self)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data + self.transport.getPeer().host.encode())


class Asking(Protocol):
    def __init__(self) -> None:
        self.received = b""
        self.ended: Any = None

    def connectionMade(self) -> None:
        self.transport.write(b"I am ")

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        self.ended = reason.value


class Server:
    """A TLS server on both families."""

    def __init__(self, reactor: Reactor, folder: Path) -> None:
        self.reactor = reactor
        self.files = Files.written_to(folder)
        self.roots = folder / "roots"
        self.roots.mkdir()
        shutil.copy(self.files.root, self.roots)
        factory = RecordingFactory()
        factory.protocol = Answering
        options = self.files.filled("privateKey={key}:certKey={full_chain}")
        endpoint = serverFromString(reactor, f"dualstack:0:{options}")
        self.port = reactor.result_of(endpoint.listen(factory))
        self.number = self.port.getHost().port

    def asked(self, host: str, name: str = "a.example", roots: Path | None = None) -> Any:
        """The protocol of a client that connects by string."""
        inner = quoteStringArgument(f"dualstack:{quoteStringArgument(host)}:{self.number}")
        trusted = in_string(roots or self.roots)
        endpoint = clientFromString(
            self.reactor,
            f"tls:{name}:{self.number}:trustRoots={trusted}:endpoint={inner}",
        )
        return self.reactor.result_of(endpoint.connect(Factory.forProtocol(Asking)))


@pytest.fixture
def server(reactor: Reactor, tmp_path: Path) -> Iterator[Server]:
    reactor.resolve_names()
    made = Server(reactor, tmp_path)
    yield made
    stop(reactor, made.port)


def end(reactor: Reactor, client: Any) -> None:
    client.transport.abortConnection()
    reactor.until(lambda: client.ended)
    reactor.iterate(0)


@pytest.mark.parametrize(
    ("host", "seen"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::ffff:127.0.0.1", "127.0.0.1")],
)
def test_an_address_of_either_family(
    server: Server, reactor: Reactor, host: str, seen: str
) -> None:
    client = server.asked(host)
    assert client.transport.getPeer().host == client.transport.getHost().host == seen
    reactor.until(lambda: client.received.endswith(seen.encode()))
    assert client.received == f"I am {seen}".encode()
    end(reactor, client)


def test_a_name(server: Server, reactor: Reactor) -> None:
    client = server.asked("localhost")
    assert client.transport.getPeer().host in ("127.0.0.1", "::1")
    reactor.until(lambda: client.received)
    end(reactor, client)


@pytest.mark.parametrize("name", ["a.example", "other.example"])
def test_the_name_and_who_certifies_it_are_checked(
    server: Server, reactor: Reactor, name: str
) -> None:
    # This directory has no root in it.
    roots = server.files.directory if name == "a.example" else None
    client = server.asked("127.0.0.1", name, roots)
    reactor.until(lambda: client.ended)
    assert "certificate verify failed" in str(client.ended) or "Verification" in repr(client.ended)
    assert client.received == b""
    reactor.iterate(0)
