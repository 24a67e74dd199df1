"""Taking what waits for a listening socket, many in a turn."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from dsadapter.sockets.accept_batch import LARGEST, AcceptBatch, Taken, peer_of
from dsadapter.sockets.listening import listening_socket

if sys.platform != "win32":
    import resource


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with listening_socket("", 0) as sock:
        sock.setblocking(False)
        yield sock


@pytest.fixture(
    params=[pytest.param("accept4", marks=pytest.mark.not_on_windows("has no accept4")), "python"]
)
def batch(request: pytest.FixtureRequest, listening: socket.socket) -> AcceptBatch:
    if request.param == "python":
        # As where the C library has no such function.
        request.getfixturevalue("monkeypatch").setattr(
            "dsadapter.sockets.accept_batch.accept4", lambda: None
        )
    return AcceptBatch(listening)


def clients(listening: socket.socket, *hosts: str) -> list[socket.socket]:
    port = listening.getsockname()[1]
    return [socket.create_connection((host, port)) for host in hosts]


def peer(taken: Taken, index: int) -> Any:
    name, family = taken.names[index], taken.families[index]
    address = peer_of(name) if isinstance(name, bytes) else name
    assert family == ("ipv4" if len(address) == 2 else "ipv6")
    return address


def close(taken: Taken) -> None:
    for descriptor in taken.descriptors:
        socket.close(descriptor)


def test_both_families_are_taken_in_their_order(
    listening: socket.socket, batch: AcceptBatch
) -> None:
    connected = clients(listening, "127.0.0.1", "::1", "127.0.0.1")
    taken = batch.take(LARGEST)
    assert taken.mapped == [True, False, True]
    assert taken.error is None
    for index, client in enumerate(connected):
        assert peer(taken, index) == client.getsockname()
        with client, socket.socket(fileno=taken.descriptors[index]) as accepted:
            assert not accepted.get_inheritable()
            accepted.sendall(b"x")
            assert client.recv(1) == b"x"


def test_no_more_are_taken_than_asked_for(listening: socket.socket, batch: AcceptBatch) -> None:
    connected = clients(listening, *["127.0.0.1"] * 5)
    for expected in (2, 2, 1, 0):
        taken = batch.take(2)
        assert len(taken.descriptors) == expected
        close(taken)
    for client in connected:
        client.close()


@pytest.mark.not_on_windows("limits descriptors by setrlimit")
def test_what_was_taken_is_given_beside_the_error(
    listening: socket.socket, batch: AcceptBatch
) -> None:
    connected = clients(listening, "127.0.0.1", "::1", "127.0.0.1")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    # All numbers below are taken but for one.
    lowest = os.dup(0)
    holes = []
    while (number := os.dup(0)) < lowest + 64:
        holes.append(number)
    os.close(number)
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, before[1]))
    try:
        os.close(lowest)
        taken = batch.take(LARGEST)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for each in holes:
            os.close(each)
    assert taken.descriptors == [lowest]
    assert isinstance(taken.error, OSError)
    assert taken.error.errno == errno.EMFILE
    assert peer(taken, 0) == connected[0].getsockname()
    close(taken)
    rest = batch.take(LARGEST)
    assert rest.mapped == [False, True]
    close(rest)
    for client in connected:
        client.close()


@pytest.mark.not_on_windows("accept fails for a reset peer")
@pytest.mark.skipif(sys.platform != "linux", reason="where the system lets accept go on")
def test_a_peer_that_has_reset_already_has_its_name(
    listening: socket.socket, batch: AcceptBatch
) -> None:
    [client] = clients(listening, "127.0.0.1")
    name = client.getsockname()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    taken = batch.take(LARGEST)
    assert taken.mapped == [True]
    assert peer(taken, 0) == name
    close(taken)
