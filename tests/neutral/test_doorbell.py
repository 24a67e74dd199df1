"""The descriptor that stands for several sockets, where selectors have none."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator

import pytest
from support.processes import PATIENCE

from dsadapter.proxied.doorbell import Doorbell

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    here, there = socket.socketpair()
    with here, there:
        yield here, there


@pytest.fixture
def doorbell() -> Iterator[Doorbell]:
    before = threading.active_count()
    made = Doorbell()
    [thread] = [each for each in threading.enumerate() if each.name == "dsadapter-doorbell"]
    yield made
    made.close()
    thread.join(PATIENCE)
    assert threading.active_count() == before


def rings(doorbell: Doorbell, seconds: float = PATIENCE) -> bool:
    return bool(select.select([doorbell], [], [], seconds)[0])


def test_it_rings_for_any_of_its_sockets(doorbell: Doorbell, pair: Pair) -> None:
    here, there = pair
    doorbell.set([here.fileno(), there.fileno()])
    there.sendall(b"x")
    assert rings(doorbell)
    here.recv(1)
    doorbell.set([here.fileno(), there.fileno()])
    assert not rings(doorbell, 0.05)
    here.sendall(b"x")
    assert rings(doorbell)


def test_it_rings_for_what_was_there_before(doorbell: Doorbell, pair: Pair) -> None:
    here, there = pair
    there.sendall(b"x")
    assert not rings(doorbell, 0.05)
    doorbell.set([here.fileno()])
    assert rings(doorbell)
    # Nobody has taken it.
    doorbell.set([here.fileno()])
    assert rings(doorbell)
    doorbell.set([])
    assert not rings(doorbell, 0.05)


def test_what_is_no_socket_any_more_rings(doorbell: Doorbell) -> None:
    with socket.socket() as gone:
        number = gone.fileno()
    doorbell.set([number])
    assert rings(doorbell)
    doorbell.set([])
    assert not rings(doorbell, 0.05)
