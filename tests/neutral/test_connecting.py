"""Connecting without a framework: each driver does no more than wait."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.processes import PATIENCE
from support.silent import answering, silent

from dsadapter import hookimpl
from dsadapter.connector import Answer, Connector, Lookups, Unconnected
from dsadapter.errors import AddressFamilyError, RefusedError
from dsadapter.happy_eyeballs.outcomes import Outcomes
from dsadapter.plugin import active_hooks
from dsadapter.policy import ConnectPolicy, canonical_target
from dsadapter.testing import RecordingPlugin, registered

from .drivers.loops import EACH, LOOPS

NAME = "name.example"


class Names:
    """A resolver that knows some names, and what it was asked."""

    def __init__(self, known: Mapping[str, Sequence[Any]]) -> None:
        self.known = known
        self.asked: list[Any] = []
        self.unanswered: list[Any] = []

    def __call__(self, host: str, families: Any, answer: Any) -> Any:
        self.asked.append((host, tuple(families)))
        for address in self.known.get(host, ()):
            if ("ipv6" if ":" in address else "ipv4") in families:
                answer.found(address)
        answer.done()


class Tried:
    """What a check sees of each attempt; it may refuse some."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.addresses: list[Any] = []
        self.sockets: list[socket.socket] = []

    @hookimpl
    def dsadapter_before_connect(self, sock: socket.socket, attempt: Any) -> None:
        self.addresses.append(attempt.destination)
        self.sockets.append(sock)
        if attempt.destination[0] in self.refused:
            raise ValueError("as told")

    def open(self) -> int:
        return sum(sock.fileno() != -1 for sock in self.sockets)


class Client:
    """Connects under one framework, in a loop of its own each time.

    :param names: answers the lookups; None for the framework's own.
    """

    def __init__(self, loop: str) -> None:
        self.loop = loop
        self.run, self.sleep = LOOPS[loop]
        self.outcomes = Outcomes()
        self.tried = Tried()
        self.names: Any = None

    def connector(self, waiting: Any, lookups: Lookups | None = None) -> Connector:
        look_up = self.names or waiting.look_up
        shared = lookups or Lookups()
        return Connector(waiting.name, waiting, active_hooks(), look_up, shared, self.outcomes)

    async def ended(self, ends: list[Any], count: int = 1) -> None:
        deadline = time.monotonic() + PATIENCE
        while len(ends) < count:
            assert time.monotonic() < deadline
            await self.sleep(0.002)

    def end(self, host: str, port: int, **options: Any) -> Any:
        """``(socket, address)``, or why there is none."""
        ends: list[Any] = []
        policy = ConnectPolicy(**{"remember_outcomes": False, **options})

        def end(*how: Any) -> None:
            ends.append((*how, self.tried.open()))

        async def body(waiting: Any) -> None:
            connector = self.connector(waiting)
            connector.race(canonical_target(host, port), policy, end, end).run()
            await self.ended(ends)

        with registered(self.tried):
            self.run(body)
        [(*outcome, still_open)] = ends
        assert still_open == (len(outcome) == 2)
        return outcome if len(outcome) == 2 else outcome[0]

    def reached(self, host: str, port: int, **options: Any) -> Any:
        sock, address = self.end(host, port, **options)
        with sock:
            assert sock.gettimeout() == 0
            assert sock.getpeername() == address
            return address

    def failed(self, host: str, port: int, **options: Any) -> Unconnected:
        end = self.end(host, port, **options)
        assert isinstance(end, Unconnected), end
        assert end.text.isprintable()
        return end


@pytest.fixture(params=EACH)
def client(request: pytest.FixtureRequest) -> Client:
    return Client(request.param)


@pytest.fixture
def port() -> Iterator[int]:
    """Where both loopback addresses answer."""
    with silent("127.0.0.9") as port, answering(port, "127.0.0.1", "::1"):
        yield port


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", ("127.0.0.1",)),
        ("::ffff:127.0.0.1", ("127.0.0.1",)),
        ("::1", ("::1", 0, 0)),
    ],
)
@pytest.mark.parametrize("bind_address", [None, "", "::", ("::", 0)])
def test_a_literal_is_reached_from_any_address(
    client: Client, port: int, host: str, address: Any, bind_address: Any
) -> None:
    expected = (address[0], port, *address[1:])
    assert client.reached(host, port, bind_address=bind_address) == expected
    assert client.tried.addresses == [expected]


def test_a_bind_address_is_kept(client: Client, port: int) -> None:
    sock, _ = client.end("127.0.0.1", port, bind_address="127.0.0.2")
    with sock:
        assert sock.getsockname()[0] == "127.0.0.2"
    assert client.failed("::1", port, bind_address="127.0.0.2").kind == "failed"


@pytest.mark.parametrize("lookup", ["joint", "families"])
def test_the_framework_looks_names_up(client: Client, port: int, lookup: Any) -> None:
    assert client.reached("localhost", port, lookup=lookup)[0] in ("127.0.0.1", "::1")


def test_the_next_address_starts_at_once_when_one_is_refused(client: Client, port: int) -> None:
    client.names = Names({NAME: ["127.0.0.5", "::ffff:127.0.0.6", "127.0.0.1"]})
    assert client.reached(NAME, port, attempt_delay=2) == ("127.0.0.1", port)
    assert [address[0] for address in client.tried.addresses] == [
        "127.0.0.5",
        "127.0.0.6",
        "127.0.0.1",
    ]


def test_a_silent_address_is_joined_by_the_next_and_closed_when_that_has_won(
    client: Client, port: int
) -> None:
    client.names = Names({NAME: ["127.0.0.9", "::1"]})
    assert client.reached(NAME, port, attempt_delay=0.01)[0] == "::1"
    assert len(client.tried.sockets) == 2
    assert client.tried.open() == 0


def test_what_has_won_is_remembered(client: Client, port: int) -> None:
    client.names = Names({NAME: ["127.0.0.9", "::1"]})
    ends: list[Any] = []

    async def body(waiting: Any) -> None:
        policy = ConnectPolicy(attempt_delay=0.01)
        for count in (1, 2):
            connector = client.connector(waiting)
            connector.race((NAME, port), policy, lambda *won: ends.append(won), ends.append).run()
            await client.ended(ends, count)

    with registered(client.tried):
        client.run(body)
    for sock, address in ends:
        assert address[0] == "::1"
        sock.close()
    assert [address[0] for address in client.tried.addresses] == ["127.0.0.9", "::1", "::1"]


def test_all_are_refused(client: Client, port: int) -> None:
    client.names = Names({NAME: ["127.0.0.5", "127.0.0.6"]})
    end = client.failed(NAME, port)
    assert end.kind == "failed"
    assert [attempt.address for attempt in end.attempts] == client.tried.addresses
    for attempt in end.attempts:
        assert isinstance(attempt.error, ConnectionRefusedError)
        assert attempt.address[0] in end.text
    assert NAME in end.text


def test_time_is_up(client: Client) -> None:
    client.names = Names({NAME: ["127.0.0.1", "127.0.0.2"]})
    with silent("127.0.0.1", "127.0.0.2") as port:
        end = client.failed(NAME, port, timeout=1, attempt_delay=0.01)
    assert end.kind == "timeout"
    assert [attempt.error for attempt in end.attempts] == [None, None]


@pytest.mark.parametrize("lookup", ["joint", "families"])
def test_a_name_has_no_address(client: Client, lookup: Any) -> None:
    client.names = Names({})
    end = client.failed(NAME, 80, lookup=lookup)
    assert end.kind == "unresolved"
    assert NAME in end.text
    assert client.names.asked[-2:] == [(NAME, ("ipv6",)), (NAME, ("ipv4",))]


def test_a_resolver_complains(client: Client) -> None:
    def complain(host: str, families: Any, answer: Any) -> Any:
        raise OSError("out of\norder")

    client.names = complain
    assert r"out of\norder" in client.failed(NAME, 80).text


def test_mapped_addresses_are_refused(client: Client, port: int) -> None:
    client.names = Names({NAME: ["::ffff:127.0.0.1"]})
    end = client.failed(NAME, port, mapped_addresses="refuse")
    assert client.tried.addresses == []
    [attempt] = end.attempts
    assert attempt.address == ("127.0.0.1", port)
    assert isinstance(attempt.error, AddressFamilyError)
    assert client.reached(NAME, port) == ("127.0.0.1", port)


def test_a_plugin_refuses(client: Client, port: int) -> None:
    client.names = Names({NAME: ["127.0.0.1", "::1"]})
    client.tried = Tried("127.0.0.1")
    with registered(RecordingPlugin()) as recording:
        assert client.reached(NAME, port)[0] == "::1"
        [refusal] = recording.of("operation_refused")
    assert (refusal.framework, refusal.operation) == (client.loop, "connect")
    assert refusal.address == ("127.0.0.1", port)
    end = client.failed("127.0.0.1", port)
    assert isinstance(end.attempts[0].error, RefusedError)


@pytest.mark.parametrize("when", ["at once", "while it connects"])
def test_it_is_cancelled(client: Client, when: str) -> None:
    ends: list[Any] = []
    client.names = Names({NAME: ["127.0.0.1", "127.0.0.2"]})

    async def body(waiting: Any) -> None:
        with silent("127.0.0.1", "127.0.0.2") as port:
            policy = ConnectPolicy(attempt_delay=0.01)
            race = client.connector(waiting).race((NAME, port), policy, ends.append, ends.append)
            race.run()
            if when == "while it connects":
                await client.ended(client.tried.sockets, 2)
            race.cancel()
            race.cancel()
            await client.sleep(0.05)

    with registered(client.tried):
        client.run(body)
    assert ends == []
    assert client.tried.sockets
    assert client.tried.open() == 0


def test_one_question_serves_all_who_wait_for_it(client: Client, port: int) -> None:
    asked: list[Any] = []
    ends: list[Any] = []

    def ask(host: str, families: Any, answer: Any) -> None:
        asked.append((host, *families, answer))

    client.names = ask

    async def body(waiting: Any) -> None:
        connector = client.connector(waiting)
        policy = ConnectPolicy(lookup="families")

        def race() -> Any:
            made = connector.race((NAME, port), policy, lambda *won: ends.append(won), ends.append)
            made.run()
            return made

        first, *_ = [race() for _ in range(5)]
        assert [question[:2] for question in asked] == [(NAME, "ipv6"), (NAME, "ipv4")]
        first.cancel()
        for question in asked:
            question[-1].found("127.0.0.1" if question[1] == "ipv4" else "::1")
            question[-1].done()
        await client.ended(ends, 4)
        race()
        assert len(asked) == 4

    client.run(body)
    for sock, _ in ends:
        sock.close()


class Broken:
    """An event loop that can't watch a socket, or sets no timer."""

    def __init__(self, waiting: Any, broken: str, after: int = 0) -> None:
        self.waiting, self.broken, self.left, self.name = waiting, broken, after, waiting.name

    def __getattr__(self, name: str) -> Any:
        if name == self.broken:
            self.left -= 1
            if self.left < 0:
                return self.fail
        return getattr(self.waiting, name)

    def fail(self, *args: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("broken", ["when_writable", "call_later", "now"])
@pytest.mark.parametrize("host", ["127.0.0.9", NAME])
def test_the_event_loop_fails(client: Client, broken: str, host: str) -> None:
    ends: list[Any] = []
    client.names = Names({NAME: ["127.0.0.9"]})

    async def body(waiting: Any) -> None:
        with silent("127.0.0.9") as port:
            connector = client.connector(Broken(waiting, broken))
            connector.race((host, port), ConnectPolicy(), ends.append, ends.append).run()
            await client.ended(ends)

    with registered(client.tried):
        client.run(body)
    [end] = ends
    assert "No space left" in end.text
    assert client.tried.open() == 0


@pytest.mark.parametrize("after", range(7))
@pytest.mark.parametrize("broken", ["when_writable", "call_later", "now"])
@pytest.mark.parametrize("last", ["127.0.0.1", "127.0.0.7"])
def test_the_event_loop_fails_later(
    client: Client, port: int, broken: str, after: int, last: str
) -> None:
    ends: list[Any] = []
    client.names = Names({NAME: ["127.0.0.9", "127.0.0.5", last]})

    def end(*how: Any) -> None:
        ends.append((*how, client.tried.open()))

    async def body(waiting: Any) -> None:
        connector = client.connector(Broken(waiting, broken, after=after))
        policy = ConnectPolicy(timeout=0.2, attempt_delay=0.01)
        connector.race((NAME, port), policy, end, end).run()
        await client.ended(ends)
        await client.sleep(0.01)

    with registered(client.tried):
        client.run(body)
    [(*outcome, still_open)] = ends
    if len(outcome) == 2:
        outcome[0].close()
        still_open -= 1
    assert still_open == client.tried.open() == 0


@pytest.mark.parametrize("at_once", [True, False])
def test_what_a_resolver_tells_ends_the_connect_and_not_the_resolver(
    client: Client, at_once: bool
) -> None:
    ends: list[Any] = []

    async def body(waiting: Any) -> None:
        def answered(answer: Answer) -> None:
            # No interface has such a number, which the C library does not even take.
            answer.found("fe80::1", -1)
            answer.done()

        def look_up(host: str, families: Any, answer: Answer) -> None:
            if at_once:
                answered(answer)
            else:
                waiting.call_later(0, lambda: answered(answer))

        connector = replace(client.connector(waiting), look_up=look_up)
        connector.race((NAME, 9), ConnectPolicy(), ends.append, ends.append).run()
        await client.ended(ends)

    client.run(body)
    [end] = ends
    # CPython 3.14 has another error for it.
    assert isinstance(end.cause, (OverflowError, ValueError))


def test_who_takes_the_socket_fails(client: Client, port: int) -> None:
    ends: list[Any] = []

    def taken(sock: Any, address: Any) -> None:
        raise KeyError("as told")

    async def body(waiting: Any) -> None:
        client.connector(waiting).race(("::1", port), ConnectPolicy(), taken, ends.append).run()
        await client.ended(ends)

    with registered(client.tried):
        client.run(body)
    [end] = ends
    assert isinstance(end.cause, KeyError)
    assert client.tried.open() == 0


def test_an_endless_answer_is_cut(client: Client, port: int) -> None:
    addresses = [f"127.1.{n >> 8}.{n & 255}" for n in range(1, 5000)]
    client.names = Names({NAME: [*addresses, "::1"]})
    assert client.reached(NAME, port)[0] == "::1"
    client.names = Names({NAME: addresses})
    end = client.failed(NAME, port)
    assert len(end.attempts) == 64
    assert f"and {4999 - 6} more" in end.text
    assert len(end.text) < 1000


def test_it_needs_no_framework() -> None:
    code = (
        "import sys, dsadapter.connector\n"
        "print(sorted({'twisted', 'asyncio', 'trio'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("loop", LOOPS)
def test_a_driver_is_small(loop: str) -> None:
    driver = Path(__file__).parent / "drivers" / f"{loop}_connecting.py"
    assert len(driver.read_text(encoding="utf-8").splitlines()) <= 50
