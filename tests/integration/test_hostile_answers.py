"""Names, and answers to them, that are made to cost much or to mislead who reads a log."""

from __future__ import annotations

import encodings.idna
import itertools
import sys
from collections.abc import Callable
from typing import Any

import pytest
from support.listeners import RecordingFactory
from support.reactors import Reactor
from support.resolvers import Hosts, Scripted, Tried
from support.silent import silent
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IHostnameResolver, IResolver
from twisted.python.failure import Failure
from zope.interface import implementer

from dsadapter.frameworks.twisted import (
    DualStackClientEndpoint,
    DualStackDatagramEndpoint,
    DualStackServerEndpoint,
)
from dsadapter.happy_eyeballs.schedule import Fail, Schedule, StartAttempt
from dsadapter.testing import registered

NAME = "name.example"
MANY = 3000
READABLE = 4096
"""Characters of a text that somebody reads."""


def many(family: str) -> list[str]:
    """Addresses of this machine, at none of which anybody listens."""
    numbers = itertools.islice(itertools.product(range(1, 250), range(1, 250)), MANY)
    mapped = "::ffff:" if family == "mapped" else ""
    return [f"{mapped}127.1.{a}.{b}" for a, b in numbers]


class Answered:
    """A connect to a name with all these addresses."""

    def __init__(self, reactor: Reactor, addresses: list[str]) -> None:
        reactor.installNameResolver(Hosts({NAME: addresses}))
        self.tried, self.ticks = Tried(), 0
        ends: list[Any] = []

        def tick() -> None:
            if not ends:
                self.ticks += 1
                reactor.callLater(0, tick)

        with silent("127.0.0.9") as port, registered(self.tried):
            reactor.callLater(0, tick)
            endpoint = DualStackClientEndpoint(reactor, NAME, port, rememberOutcomes=False)
            endpoint.connect(RecordingFactory()).addBoth(ends.append)
            reactor.until(lambda: ends)
        [failure] = ends
        assert isinstance(failure, Failure)
        self.text = str(failure.value)


families = pytest.mark.parametrize("family", ["IPv4", "mapped"])


@families
def test_tries_are_capped(reactor: Reactor, family: str) -> None:
    assert len(Answered(reactor, many(family)).tried.addresses) < MANY / 2


@families
def test_the_reactor_gets_its_turns(reactor: Reactor, family: str) -> None:
    assert Answered(reactor, many(family)).ticks > 2


@families
def test_the_text_can_be_read(reactor: Reactor, family: str) -> None:
    text = Answered(reactor, many(family)).text
    assert "127.1.1.1" in text
    assert len(text) < READABLE


class Counted(tuple[Any, ...]):
    """An address that counts how often it is looked at."""

    looks = 0

    def __eq__(self, other: object) -> bool:
        Counted.looks += 1
        return tuple.__eq__(self, other)  # type: ignore[arg-type]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        Counted.looks += 1
        return tuple.__hash__(self)

    def __len__(self) -> int:
        Counted.looks += 1
        return tuple.__len__(self)


def looks(ipv6: int, ipv4: int) -> int:
    """How often addresses are looked at until all that are tried have failed."""
    addresses = [Counted((f"2001:db8::{n:x}", 80, 0, 0)) for n in range(ipv6)]
    addresses += [Counted((f"10.0.{n >> 8}.{n & 255}", 80)) for n in range(ipv4)]
    Counted.looks = 0
    schedule = Schedule(0.25)
    actions = list(schedule.resolved(addresses))
    while not any(isinstance(action, Fail) for action in actions):
        [attempt] = [action for action in actions if isinstance(action, StartAttempt)]
        actions = schedule.attempt_failed(attempt.address)
    return Counted.looks


@pytest.mark.parametrize(("ipv6", "ipv4"), [(1, 1), (1, 0), (0, 1)])
def test_ordering_is_linear(ipv6: int, ipv4: int) -> None:
    few, lots = looks(100 * ipv6, 100 * ipv4), looks(800 * ipv6, 800 * ipv4)
    assert lots < 16 * few


LONG = 1 << 12
NAMES = {
    "ASCII": "a" * LONG,
    "not ASCII": "ä" * LONG,
    "labels": "a." * LONG,
    "labels that are not ASCII": "ä." * LONG,
    "an address without end": "127." * LONG + "1",
    "a zone": "fe80::1%" + "x" * LONG,
    "colons": ":" * LONG,
    "spaces": " " * LONG,
    "control characters": "\x1b\n" * LONG,
}
USES: dict[str, Callable[[Any, str], Any]] = {
    "connecting": lambda reactor, name: DualStackClientEndpoint(reactor, name, 80),
    "connecting from": lambda reactor, name: DualStackClientEndpoint(
        reactor, "::1", 80, bindAddress=name
    ),
    "listening": lambda reactor, name: DualStackServerEndpoint(reactor, 80, interface=name),
    "datagrams": lambda reactor, name: DualStackDatagramEndpoint(reactor, 80, interface=name),
    "a client string": lambda reactor, name: clientFromString(
        reactor, f"dualstack:host={_quoted(name)}:port=80"
    ),
    "a server string": lambda reactor, name: serverFromString(
        reactor, f"dualstack:80:interface={_quoted(name)}"
    ),
}


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace(":", "\\:").replace("=", "\\=")


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", NAMES)
def test_a_text_shortens_what_it_quotes(reactor: Reactor, use: str, name: str) -> None:
    with pytest.raises(ValueError) as raised:
        USES[use](reactor, NAMES[name])
    text = str(raised.value)
    assert len(text) < READABLE / 4
    assert text.isprintable()


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize("name", ["not ASCII", "labels that are not ASCII"])
def test_length_comes_before_idna(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch, name: str, installed: bool
) -> None:
    """Which takes time that grows with it, by the package or by Python's own codec."""
    handed: list[str] = []
    if installed:
        package, function = pytest.importorskip("idna"), "encode"
    else:
        monkeypatch.setitem(sys.modules, "idna", None)
        package, function = encodings.idna, "nameprep"
    original = getattr(package, function)

    def counted(text: str, *args: Any, **kwargs: Any) -> Any:
        handed.append(text)
        return original(text, *args, **kwargs)

    monkeypatch.setattr(package, function, counted)
    with pytest.raises(ValueError, match="too long"):
        DualStackClientEndpoint(reactor, NAMES[name], 80)
    assert sum(map(len, handed)) < LONG / 2


FORGED = "127.0.0.1\n2026-01-01 [-] admin logged in\x1b[2J"


@implementer(IHostnameResolver)
class Complaining:
    def resolveHostName(self, *args: Any, **kwargs: Any) -> Any:
        raise ValueError(FORGED)


@implementer(IResolver)
class ComplainingOfRecords:
    def lookupAddress(self, name: str, timeout: Any = None) -> Deferred[Any]:
        return fail(ValueError(FORGED))

    def lookupIPV6Address(self, name: str, timeout: Any = None) -> Deferred[Any]:
        return fail(ValueError(FORGED))


RESOLVERS: dict[str, Callable[[], Any]] = {
    "IPv4": lambda: Scripted(IPv4Address("TCP", FORGED, 80)),
    "IPv6": lambda: Scripted(IPv6Address("TCP", f"::1%{FORGED}", 80)),
    "zone": lambda: Scripted(IPv6Address("TCP", "fe80::1", 80, scopeID=FORGED)),
    "error": Complaining,
    "error of records": ComplainingOfRecords,
}


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_no_control_character_reaches_a_text(reactor: Reactor, resolver: str) -> None:
    endpoint = DualStackClientEndpoint(reactor, NAME, 1, resolver=RESOLVERS[resolver]())
    ends: list[Any] = []
    endpoint.connect(RecordingFactory()).addBoth(ends.append)
    reactor.until(lambda: ends)
    text = str(ends[0].value)
    assert text.isprintable(), text
