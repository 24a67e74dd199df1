"""The descriptor that stands for several sockets, where selectors have none."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator

import pytest
from support.descriptors import open_descriptors
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
    before = set(threading.enumerate())
    made = Doorbell()
    [thread] = [each for each in set(threading.enumerate()) - before if "doorbell" in each.name]
    yield made
    made.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()


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


@pytest.mark.not_on_windows("gives a thread more stack than Linux has memory")
def test_without_a_thread_nothing_stays_open() -> None:
    before = open_descriptors()
    threading.stack_size(1 << 50)
    try:
        with pytest.raises(OSError, match="can't start new thread"):
            Doorbell()
    finally:
        threading.stack_size(0)
    assert open_descriptors() <= before
