"""What is made past a constructor, or asked for late, is what it always was."""

from __future__ import annotations

import copy
import pickle
import socket
import struct
import subprocess
import sys
from typing import Any

import pytest
from support.environments import clean_environment
from support.listeners import RecordingFactory, stop
from support.name_calls import counted_names
from support.observers import Beginnings, Silent
from support.processes import PATIENCE
from support.reactors import Reactor, open_descriptors
from support.windows import meets_resets
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from dsadapter import hookimpl
from dsadapter.frameworks.twisted import DualStackServerEndpoint
from dsadapter.testing import RecordingPlugin, registered

HOSTS = ["127.0.0.1", "::1"]
RESET = struct.pack("ii", 1, 0)


class Asking(RecordingPlugin):
    """Asks for the local address when the connection is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    @hookimpl
    def dsadapter_connection_lost(self, connection: Any) -> None:
        super().dsadapter_connection_lost(connection)
        self.asked.append(connection.local)


def serve(reactor: Reactor) -> Any:
    return reactor.result_of(DualStackServerEndpoint(reactor, 0).listen(RecordingFactory()))


def connect(reactor: Reactor, port: Any, host: str) -> socket.socket:
    before = len(port.factory.made)
    client = socket.create_connection((host, port.getHost().port))
    reactor.until(lambda: len(port.factory.made) > before)
    return client


def lose(reactor: Reactor, port: Any, client: socket.socket) -> None:
    client.close()
    reactor.until(lambda: port.factory.lost)
    stop(reactor, port)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("resets", [False, True], ids=["closes", "resets"])
def test_the_local_address_is_known_when_the_connection_is_lost(
    reactor: Reactor, host: str, resets: bool
) -> None:
    with registered(Asking()) as plugin:
        port = serve(reactor)
        client = connect(reactor, port, host)
        served = client.getpeername()
        if resets:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        lose(reactor, port, client)
    assert plugin.asked == [served]


@pytest.mark.parametrize("host", HOSTS)
def test_nobody_is_asked_for_what_no_plugin_reads(reactor: Reactor, host: str) -> None:
    with registered(Silent()) as plugin:
        port = serve(reactor)
        number = port.getHost().port
        with counted_names() as counted:
            client = socket.create_connection((host, number))
            reactor.until(lambda: port.factory.made)
            client.close()
            reactor.until(lambda: port.factory.lost)
        assert counted.number == 0
        stop(reactor, port)
    assert plugin.lost == 1


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    "aborts",
    [pytest.param(False, id="loses"), pytest.param(True, id="aborts", marks=meets_resets)],
)
def test_a_client_learns_of_the_end_before_plugins_do(
    reactor: Reactor, host: str, aborts: bool
) -> None:
    met: list[Any] = []

    class Looking(Asking):
        @hookimpl
        def dsadapter_connection_lost(self, connection: Any) -> None:
            super().dsadapter_connection_lost(connection)
            try:
                met.append(client.recv(1))
            except ConnectionResetError:
                met.append("reset")

    with registered(Looking()) as plugin:
        port = serve(reactor)
        before = len(open_descriptors())
        client = connect(reactor, port, host)
        client.settimeout(PATIENCE)
        served = client.getpeername()
        transport = port.factory.made[0].transport
        transport.abortConnection() if aborts else transport.loseConnection()
        reactor.until(lambda: port.factory.lost)
        client.close()
        # Nothing stays open for a plugin.
        assert len(open_descriptors()) <= before
        stop(reactor, port)
    assert met == ["reset" if aborts else b""]
    assert plugin.asked == [served]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("plugin", [RecordingPlugin, Beginnings])
def test_a_record_that_is_kept_knows_it_after_the_socket_has_closed(
    reactor: Reactor, host: str, plugin: Any
) -> None:
    with registered(plugin()) as told:
        port = serve(reactor)
        client = connect(reactor, port, host)
        served = client.getpeername()
        lose(reactor, port, client)
    [record] = told.kept if isinstance(told, Beginnings) else told.of("connection_made")
    assert record.local == served
    assert f"local={served!r}" in repr(record)
    assert copy.copy(record).local == served


def test_a_record_shows_all_of_itself_while_the_connection_lives(reactor: Reactor) -> None:
    with registered(RecordingPlugin()) as told:
        port = serve(reactor)
        client = connect(reactor, port, "127.0.0.1")
        [record] = told.of("connection_made")
        served = client.getpeername()
        assert f"local={served!r}" in repr(record)
        with pytest.raises(AttributeError):
            record.local = served
        with pytest.raises(AttributeError, match="has no attribute 'lokal'"):
            _ = record.lokal
        lose(reactor, port, client)


@pytest.mark.parametrize(("host", "unknown"), [("127.0.0.1", "0.0.0.0"), ("::1", "::")])
def test_a_descriptor_that_was_taken_away_leaves_it_unspecified(
    reactor: Reactor, host: str, unknown: str
) -> None:
    with registered(Asking()) as plugin:
        port = serve(reactor)
        client = connect(reactor, port, host)
        transport = port.factory.made[0].transport
        transport.stopReading()
        taken = socket.socket(fileno=transport.socket.detach())
        transport.connectionLost(Failure(ConnectionLost()))
        taken.close()
        lose(reactor, port, client)
    assert [address[0] for address in plugin.asked] == [unknown]


@pytest.mark.parametrize("host", HOSTS)
def test_the_address_of_a_peer_is_one_that_twisted_would_make(reactor: Reactor, host: str) -> None:
    given: list[Any] = []

    class Noting(RecordingFactory):
        def buildProtocol(self, addr: Any) -> Any:
            given.append(addr)
            return super().buildProtocol(addr)

    port = reactor.result_of(DualStackServerEndpoint(reactor, 0).listen(Noting()))
    client = connect(reactor, port, host)
    kind = IPv6Address if ":" in host else IPv4Address
    plain = kind("TCP", *client.getsockname())
    lose(reactor, port, client)
    [address] = given
    assert type(address) is kind
    assert address == plain
    assert hash(address) == hash(plain)
    assert repr(address) == repr(plain)
    assert vars(address) == vars(plain)
    assert pickle.loads(pickle.dumps(address)) == plain


FROZEN = """
import attr
from twisted.internet import address

@attr.s(frozen=True, auto_attribs=True)
class IPv4Address:
    type: str
    host: str
    port: int

address.IPv4Address = IPv4Address
from dsadapter.frameworks.twisted.addresses import stream_address
assert stream_address(("192.0.2.1", 80)) == IPv4Address("TCP", "192.0.2.1", 80)
assert stream_address(("2001:db8::1", 80, 1, 2)) == address.IPv6Address(
    "TCP", "2001:db8::1", 80, 1, 2
)
"""


def test_a_twisted_whose_addresses_are_frozen_makes_its_own() -> None:
    subprocess.run([sys.executable, "-c", FROZEN], env=clean_environment(), check=True)
