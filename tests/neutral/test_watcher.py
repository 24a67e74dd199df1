"""The thread that watches sockets for a loop that can't."""

from __future__ import annotations

import contextvars
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from support.processes import PATIENCE

from dsadapter.watcher import Watcher as LastingWatcher


class Turns:
    """A loop of nothing but turns, which a test takes."""

    def __init__(self) -> None:
        self._given: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self.open = True
        self.was_refused = threading.Event()

    def wake(self, take: Callable[[], object]) -> bool:
        if self.open:
            self._given.put(take)
        else:
            self.was_refused.set()
        return self.open

    def is_open(self) -> bool:
        return self.open

    def call(self, found: Callable[[], object], context: contextvars.Context) -> None:
        context.run(found)

    def turn(self) -> None:
        self._given.get(timeout=PATIENCE)()

    def until(self, condition: Callable[[], Any]) -> None:
        while not condition():
            self.turn()

    @property
    def has_more(self) -> bool:
        return not self._given.empty()


@pytest.fixture
def turns() -> Iterator[Turns]:
    before = set(threading.enumerate())
    made = Turns()
    yield made
    # A thread that lasted would close its sockets in somebody else's test.
    for thread in set(threading.enumerate()) - before:
        while thread.is_alive():
            if made.has_more:
                made.turn()
            thread.join(0.01)


Watcher = partial(LastingWatcher, lingers=0.05)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


Pair = tuple[socket.socket, socket.socket]


def test_a_reader_is_called_until_it_is_cancelled(turns: Turns, pair: Pair) -> None:
    one, other = pair
    called: list[str] = []
    watch = Watcher(turns).when_readable(one.fileno(), lambda: called.append("readable"))
    assert called == []

    other.send(b"x")
    turns.turn()
    turns.turn()
    assert called == ["readable"] * 2, "it is readable still"

    watch.cancel()
    watch.cancel()
    while turns.has_more:
        turns.turn()
    assert called == ["readable"] * 2


def test_a_writer_is_called_where_a_connect_has_failed(turns: Turns) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        number = closed.getsockname()[1]
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", number))
        called: list[str] = []
        watch = Watcher(turns).when_writable(sock.fileno(), lambda: called.append("failed"))
        turns.until(lambda: called)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        watch.cancel()


def test_the_last_one_is_called(turns: Turns, pair: Pair) -> None:
    one, other = pair
    watcher = Watcher(turns)
    called: list[str] = []
    first = watcher.when_readable(one.fileno(), lambda: called.append("first"))
    watcher.when_readable(one.fileno(), lambda: called.append("last"))
    # Of one that another has taken the place of.
    first.cancel()
    other.send(b"x")
    turns.until(lambda: called)
    assert set(called) == {"last"}
    assert watcher.forget_reader(one.fileno())
    assert not watcher.forget_reader(one.fileno())


def test_who_has_ended_in_the_turn_is_not_called(turns: Turns, pair: Pair) -> None:
    called: list[int] = []
    watcher = Watcher(turns)
    watches: list[Any] = []

    def found(index: int) -> None:
        called.append(index)
        watches[1 - index].cancel()

    for sock in pair:
        sock.send(b"x")
    for index, sock in enumerate(pair):
        watches.append(watcher.when_readable(sock.fileno(), lambda index=index: found(index)))
    turns.until(lambda: called)
    turns.turn()
    assert len(set(called)) == 1
    watches[called[0]].cancel()


def test_the_context_is_that_of_who_asked(turns: Turns, pair: Pair) -> None:
    one, other = pair
    name = contextvars.ContextVar("name", default="nobody")
    seen: list[str] = []
    watcher = Watcher(turns)
    asking = contextvars.copy_context()
    asking.run(name.set, "asker")
    watch = asking.run(watcher.when_readable, one.fileno(), lambda: seen.append(name.get()))
    other.send(b"x")
    turns.until(lambda: seen)
    watch.cancel()
    assert set(seen) == {"asker"}


def test_who_closes_a_socket_is_told(turns: Turns) -> None:
    called: list[str] = []
    one, other = socket.socketpair()
    with one, other:
        fd = one.fileno()
        watcher = Watcher(turns)
        watcher.when_readable(fd, lambda: called.append("closed"))
        one.close()
        # The thread looks again, at a descriptor that is none.
        watch = watcher.when_readable(other.fileno(), lambda: None)
        turns.until(lambda: called)
        watch.cancel()
        watcher.forget_reader(fd)


def test_more_are_watched_than_one_thread_can(turns: Turns) -> None:
    with ExitStack() as opened:
        watcher = Watcher(turns)
        called: set[int] = set()
        # Any number of descriptors of few sockets.
        socks: list[socket.socket] = []
        one, other = socket.socketpair()
        opened.enter_context(one)
        opened.enter_context(other)
        for _ in range(600):
            socks.append(opened.enter_context(one.dup()))
        watches = [
            watcher.when_readable(sock.fileno(), partial(called.add, sock.fileno()))
            for sock in socks
        ]
        other.send(b"x")
        turns.until(lambda: len(called) == 600)
        for watch in watches:
            watch.cancel()


def test_a_loop_that_has_ended_is_left(turns: Turns, pair: Pair) -> None:
    one, other = pair
    called: list[str] = []
    watcher = Watcher(turns)
    watcher.when_readable(one.fileno(), lambda: called.append("readable"))
    turns.open = False
    other.send(b"x")
    assert turns.was_refused.wait(PATIENCE)
    # That thread ends; another one begins for who asks again.
    turns.open = True
    watcher.when_readable(one.fileno(), lambda: called.append("again"))
    turns.until(lambda: called)
    assert set(called) == {"again"}
    watcher.forget_reader(one.fileno())


ENDING = """
import socket, sys, threading
from dsadapter.watcher import Watcher

class Home:
    told = threading.Event()
    def wake(self, take):
        self.told.set()
        return True
    def is_open(self):
        return True
    def call(self, found, context):
        context.run(found)

watcher = Watcher(Home(), lingers=6000)
one, other = socket.socketpair()
watch = watcher.when_readable(one.fileno(), lambda: None)
if sys.argv[1] == "found":
    # What it has found nobody takes any more.
    other.send(b"x")
    Home.told.wait()
if sys.argv[1] != "watches":
    watch.cancel()
one.close(), other.close()
"""


@pytest.mark.parametrize("when", ["watches", "lingers", "found"])
def test_a_program_does_not_wait_for_the_thread_when_it_ends(when: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", ENDING, when],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stderr == ""
