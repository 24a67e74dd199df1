"""A handshake that is under way while a server is replaced."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.namespaces import needs_root
from support.slow_client import ACK, PSH, SYN, SlowClient, far_away
from support.under_load import dual, pair

from dsadapter.handover import Succession

pytestmark = needs_root
COOKIES = Path("/proc/sys/net/ipv4/tcp_syncookies")


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    made: list[socket.socket] = []
    yield made
    for sock in made:
        sock.close()


@pytest.mark.parametrize("kind", ["parked", "steered"])
def test_a_slow_client_is_waited_for_and_served(kind: str, sockets: list[socket.socket]) -> None:
    with far_away() as (place, wire, macs), place.entered():
        old = pair()
        port = old[0].getsockname()[1]
        sockets += old
        client = SlowClient(wire, macs, port, 40000)
        client.send(SYN)
        assert client.receive() == (SYN | ACK, b"")
        new = dual(port) if kind == "parked" else pair(port)
        sockets += new
        succession = Succession(old, new)
        assert succession.parks == (kind == "parked")
        succession.start(handshakes=20)
        assert not any(succession.look() for _ in range(5))
        client.send(ACK)
        client.send(ACK | PSH, b"hello")
        assert not succession.wait(pause=0.01, timeout=0.2)
        accepted, peer = old[0].accept()
        with accepted:
            assert (accepted.recv(10), peer) == (b"hello", ("10.0.0.2", 40000))
        assert succession.wait(pause=0.01)


def test_a_client_that_never_ends_its_handshake_is_waited_for_no_longer_than_asked(
    sockets: list[socket.socket],
) -> None:
    with far_away() as (place, wire, macs), place.entered():
        old = pair()
        port = old[0].getsockname()[1]
        sockets += [*old, *dual(port)]
        client = SlowClient(wire, macs, port, 40000)
        client.send(SYN)
        client.receive()
        succession = Succession(old, sockets[2:])
        succession.start(handshakes=0.3)
        assert not succession.look()
        assert succession.wait(pause=0.01, timeout=20)


@pytest.mark.parametrize("back", [False, True], ids=["there", "back"])
def test_a_client_that_holds_a_cookie_of_the_old_server_is_served_by_the_new_one(
    back: bool, sockets: list[socket.socket]
) -> None:
    """The kernel keeps nothing of its handshake, and the new server has never sent a cookie."""
    with far_away() as (place, wire, macs), place.entered():
        COOKIES.write_text("2")
        before, after = (dual, pair) if back else (pair, dual)
        old = before()
        port = old[0].getsockname()[1]
        sockets += old
        client = SlowClient(wire, macs, port, 40000)
        client.send(SYN)
        assert client.receive() == (SYN | ACK, b"")
        new = after(port)
        sockets += new
        succession = Succession(old, new)
        succession.start()
        client.send(ACK)
        client.send(ACK | PSH, b"hello")
        new[0].settimeout(20)
        accepted, peer = new[0].accept()
        with accepted:
            assert accepted.recv(10) == b"hello"
        assert str(peer[0]).removeprefix("::ffff:") == "10.0.0.2"
        assert peer[1] == 40000
        # What was sent to find out is nothing that a server sees.
        new[0].setblocking(False)
        with pytest.raises(BlockingIOError):
            new[0].accept()
