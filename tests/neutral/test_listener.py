"""A listener's life on real sockets, driven by no framework."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import pytest
from zope.interface.verify import verifyObject

from dsadapter import hookimpl
from dsadapter.errors import RefusedError
from dsadapter.interfaces import IListener
from dsadapter.listener import Listener
from dsadapter.policy import ListenPolicy
from dsadapter.records import Connection
from dsadapter.sockets.canonical import CanonicalSocket
from dsadapter.testing import RecordingPlugin, registered


@pytest.fixture
def recording() -> Iterator[RecordingPlugin]:
    with registered(RecordingPlugin()) as plugin:
        yield plugin


def opened(life: Listener) -> tuple[CanonicalSocket, ...]:
    sockets = life.open()
    life.opened()
    return sockets


def close(*sockets: socket.socket) -> None:
    for sock in sockets:
        sock.close()


def accepted(sock: CanonicalSocket, host: str) -> tuple[CanonicalSocket, socket.socket]:
    """A connection of this machine with itself."""
    sock.setblocking(True)
    client = socket.create_connection((host, sock.getsockname()[1]))
    return sock.accept()[0], client


@pytest.mark.parametrize(
    ("host", "mode", "hosts"),
    [
        ("::", "dual-stack", ["::"]),
        ("localhost", "pair", ["127.0.0.1", "::1"]),
        ("127.0.0.1", "ipv4", ["127.0.0.1"]),
        ("::1", "ipv6", ["::1"]),
    ],
)
def test_it_knows_what_it_serves(host: str, mode: str, hosts: list[str]) -> None:
    life = Listener("mine", ListenPolicy(host, 0))
    assert life.addresses() == ()
    sockets = opened(life)
    assert verifyObject(IListener, life)
    assert life.framework == "mine"
    assert life.mode == mode
    assert [address[0] for address in life.addresses()] == hosts
    assert {address[1] for address in life.addresses()} == {sockets[0].getsockname()[1]}
    close(*sockets)
    assert [address[0] for address in life.addresses()] == hosts


def test_opened_and_closed_are_told_once_each_time(recording: RecordingPlugin) -> None:
    life = Listener("mine", ListenPolicy("127.0.0.1", 0))
    life.closed()
    for _ in range(2):
        close(*opened(life))
        life.closed()
        life.closed()
    told = [event.hook for event in recording.events]
    assert told == ["before_bind", "listener_opened", "listener_closed"] * 2


def test_what_never_began_to_accept_is_not_told(recording: RecordingPlugin) -> None:
    life = Listener("mine", ListenPolicy("127.0.0.1", 0))
    close(*life.open())
    life.closed()
    assert [event.hook for event in recording.events] == ["before_bind"]


def test_plugins_are_given_the_object_that_the_framework_shows(
    recording: RecordingPlugin,
) -> None:
    shown = Listener("theirs", ListenPolicy("::1", 0))
    life = Listener("mine", ListenPolicy("::1", 0), shown)
    close(*opened(life))
    life.closed()
    assert recording.of("listener_opened") == recording.of("listener_closed") == [shown]


@pytest.mark.parametrize(("host", "translated"), [("127.0.0.1", True), ("::1", False)])
def test_a_connection_is_told_with_canonical_addresses(
    recording: RecordingPlugin, host: str, translated: bool
) -> None:
    life = Listener("mine", ListenPolicy("::", 0))
    sockets = opened(life)
    connection, client = accepted(sockets[0], host)
    lost = life.accepted(connection.getpeername(), connection.getsockname())
    assert lost is not None
    assert recording.of("connection_lost") == []
    lost()
    [made], [gone] = recording.of("connection_made"), recording.of("connection_lost")
    assert made is gone
    assert (made.framework, made.listener, made.direction) == ("mine", life, "inbound")
    assert made.peer == client.getsockname()
    assert made.local == client.getpeername()
    assert made.translated is translated
    close(connection, client, *sockets)


def test_who_was_not_told_of_a_connection_is_not_told_of_its_end() -> None:
    life = Listener("mine", ListenPolicy("127.0.0.1", 0))
    sockets = opened(life)
    with registered(RecordingPlugin(), "early"):
        lost = life.accepted(("127.0.0.1", 1), ("127.0.0.1", 2))
    assert lost is not None
    with registered(RecordingPlugin(), "late") as late:
        lost()
    assert late.events == []
    close(*sockets)


def test_nobody_is_asked_where_nobody_observes() -> None:
    life = Listener("mine", ListenPolicy("127.0.0.1", 0))
    sockets = opened(life)
    assert life.hooks.connections is None
    assert life.accepted(("127.0.0.1", 1), ("127.0.0.1", 2)) is None
    close(*sockets)


def test_an_observer_of_beginnings_alone_needs_no_end() -> None:
    seen: list[Connection] = []

    class Beginnings:
        @hookimpl
        def dsadapter_connection_made(self, connection: Connection) -> None:
            seen.append(connection)

    life = Listener("mine", ListenPolicy("127.0.0.1", 0))
    with registered(Beginnings()):
        sockets = opened(life)
        assert life.accepted(("127.0.0.1", 1), ("127.0.0.1", 2)) is None
    assert [connection.peer for connection in seen] == [("127.0.0.1", 1)]
    close(*sockets)


def test_a_plugin_that_refuses_is_told_and_leaves_nothing_open(
    recording: RecordingPlugin,
) -> None:
    taken: list[socket.socket] = []

    class Guard:
        @hookimpl
        def dsadapter_before_bind(self, sock: socket.socket) -> None:
            taken.append(sock)
            raise PermissionError("not here")

    life = Listener("mine", ListenPolicy("127.0.0.1", 8080))
    with registered(Guard(), "guard"), pytest.raises(RefusedError):
        life.open()
    assert [sock.fileno() for sock in taken] == [-1]
    [refusal] = recording.of("operation_refused")
    assert (refusal.framework, refusal.operation, refusal.plugin) == ("mine", "listen", "guard")
    assert refusal.address == ("127.0.0.1", 8080)
    assert "not here" in refusal.reason


def test_a_connection_without_a_protocol_is_told_as_refused(recording: RecordingPlugin) -> None:
    life = Listener("mine", ListenPolicy("127.0.0.1", 0))
    sockets = opened(life)
    life.unbuilt(("127.0.0.1", 1))
    [refusal] = recording.of("operation_refused")
    assert (refusal.operation, refusal.plugin) == ("accept", None)
    assert refusal.address == ("127.0.0.1", 1)
    close(*sockets)


@pytest.mark.not_on_windows("sockets share a port by SO_REUSEPORT")
def test_a_socket_that_takes_its_connections_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        thief.bind(("0.0.0.0", 0))
        thief.listen()
        number = thief.getsockname()[1]
        life = Listener("mine", ListenPolicy("::", number, reuse_port=True))
        sockets = life.open()
        assert caplog.messages == []
        life.opened()
    [record] = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert record.name == "dsadapter"
    assert f"0.0.0.0:{number} of another socket shares the port" in record.getMessage()
    close(*sockets)
