"""Where ``DualStackClientEndpoint`` gets its addresses from, and what it makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.authorities import NXDOMAIN, SERVFAIL, SILENCE, Zone, authority
from support.listeners import RecordingFactory, stop
from support.reactors import Reactor, open_descriptors
from support.resolvers import Scripted, Tried
from twisted.internet import error
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.testing import MemoryReactor
from twisted.names.dns import AAAA, A

from dsadapter import hookimpl
from dsadapter.frameworks.twisted import (
    ConnectingError,
    DualStackClientEndpoint,
    DualStackServerEndpoint,
)
from dsadapter.testing import registered

NAME = "name.example"


@pytest.fixture
def tried() -> Iterator[Tried]:
    plugin = Tried()
    with registered(plugin, "tried"):
        yield plugin


@contextmanager
def serving(reactor: Reactor, interface: str = "::", port: int = 0) -> Iterator[int]:
    factory = RecordingFactory()
    listener = reactor.result_of(
        DualStackServerEndpoint(reactor, port, interface=interface).listen(factory)
    )
    try:
        yield listener.getHost().port
    finally:
        for accepted in factory.made:
            accepted.transport.abortConnection()
        stop(reactor, listener)


def begin(reactor: Reactor, port: int, resolver: Any, **options: Any) -> Deferred[Any]:
    endpoint = DualStackClientEndpoint(reactor, NAME, port, resolver=resolver, **options)
    return endpoint.connect(RecordingFactory())


def peer(reactor: Reactor, port: int, resolver: Any, **options: Any) -> Any:
    """Connect, close, and say whom that was to."""
    protocol = reactor.result_of(begin(reactor, port, resolver, **options))
    address = protocol.transport.getPeer()
    protocol.transport.abortConnection()
    reactor.until(lambda: protocol.factory.lost)
    return address


def test_an_IHostnameResolver_is_asked_for_each_family_on_its_own(reactor: Reactor) -> None:
    resolver = Scripted(IPv4Address("TCP", "127.0.0.1", 0), IPv6Address("TCP", "::1", 0))
    with serving(reactor) as port:
        assert peer(reactor, port, resolver) == IPv6Address("TCP", "::1", port)
    assert resolver.asked == [(NAME, (IPv6Address,)), (NAME, (IPv4Address,))]


def test_the_reactors_resolver_is_asked_once_and_its_order_stands(
    reactor: Reactor, tried: Tried
) -> None:
    resolver = Scripted(IPv4Address("TCP", "127.0.0.1", 0), IPv6Address("TCP", "::1", 0))
    reactor.installNameResolver(resolver)
    with serving(reactor) as port:
        assert peer(reactor, port, None) == IPv4Address("TCP", "127.0.0.1", port)
    assert resolver.asked == [(NAME, None)]


@pytest.mark.parametrize("missing", [A, AAAA])
def test_a_family_without_an_answer_does_not_stop_the_other(reactor: Reactor, missing: int) -> None:
    zone = Zone({NAME: {A: ["127.0.0.1"], AAAA: ["::1"], missing: SILENCE}})
    with serving(reactor) as port:
        before = open_descriptors()
        with authority(reactor, zone) as resolver:
            found = peer(reactor, port, resolver)
            assert found.host == ("127.0.0.1" if missing == AAAA else "::1")
        assert open_descriptors() <= before


def test_twisted_names_finds_both_families(reactor: Reactor, tried: Tried) -> None:
    zone = Zone({NAME: {A: ["127.0.0.2", "127.0.0.1"], AAAA: ["::1"]}})
    with serving(reactor, "127.0.0.1") as port, authority(reactor, zone) as resolver:
        assert peer(reactor, port, resolver) == IPv4Address("TCP", "127.0.0.1", port)
    assert tried.addresses == ["::1", "127.0.0.2", "127.0.0.1"]
    assert sorted(zone.asked) == [(NAME, A), (NAME, AAAA)]


def test_a_trailing_dot_is_not_a_part_of_the_name(reactor: Reactor) -> None:
    with (
        serving(reactor) as port,
        authority(reactor, Zone({NAME: {A: ["127.0.0.1"]}})) as resolver,
    ):
        endpoint = DualStackClientEndpoint(reactor, f"{NAME}.", port, resolver=resolver)
        protocol = reactor.result_of(endpoint.connect(RecordingFactory()))
        assert protocol.transport.getPeer().host == "127.0.0.1"
        protocol.transport.abortConnection()
        reactor.until(lambda: protocol.factory.lost)


MAPPED = [["::ffff:127.0.0.1"], ["::ffff:7f00:1", "::ffff:127.0.0.1"]]


@pytest.mark.parametrize("answers", MAPPED)
def test_a_mapped_answer_is_the_IPv4_address_that_it_means(
    reactor: Reactor, tried: Tried, answers: list[str]
) -> None:
    zone = Zone({NAME: {A: ["127.0.0.1"], AAAA: answers}})
    with serving(reactor) as port, authority(reactor, zone) as resolver:
        assert peer(reactor, port, resolver) == IPv4Address("TCP", "127.0.0.1", port)
    # It is one with the A record.
    assert tried.addresses == ["127.0.0.1"]


def test_a_mapped_answer_can_be_refused(reactor: Reactor, tried: Tried) -> None:
    zone = Zone({NAME: {A: ["127.0.0.1"], AAAA: ["::ffff:127.0.0.2"]}})
    with serving(reactor) as port, authority(reactor, zone) as resolver:
        found = peer(reactor, port, resolver, mappedAddresses="refuse")
        assert found == IPv4Address("TCP", "127.0.0.1", port)
        assert tried.addresses == ["127.0.0.1"]
        zone.names = {NAME: {AAAA: ["::ffff:127.0.0.2"]}}
        with pytest.raises(ConnectingError, match=r"mappedAddresses='refuse' leaves out") as caught:
            peer(reactor, port, resolver, mappedAddresses="refuse")
    assert caught.value.attempts[0].address == ("127.0.0.2", port)
    assert "::ffff" not in str(caught.value)
    assert tried.addresses == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({A: [], AAAA: []}, r"no address for the name 'name\.example'"),
        ({A: SERVFAIL, AAAA: SERVFAIL}, r"IPv6: SERVFAIL; IPv4: SERVFAIL"),
        ({A: NXDOMAIN, AAAA: NXDOMAIN}, r"IPv6: NXDOMAIN; IPv4: NXDOMAIN"),
        ({A: [], AAAA: SERVFAIL}, r"\(IPv6: SERVFAIL\)"),
    ],
)
def test_a_name_without_an_address_says_why(reactor: Reactor, answers: Any, reason: str) -> None:
    with authority(reactor, Zone({NAME: answers})) as resolver:
        with pytest.raises(error.DNSLookupError, match=reason):
            peer(reactor, 80, resolver)


def test_a_failure_for_one_family_is_no_failure(reactor: Reactor) -> None:
    zone = Zone({NAME: {A: ["127.0.0.1"], AAAA: SERVFAIL}})
    with serving(reactor) as port, authority(reactor, zone) as resolver:
        assert peer(reactor, port, resolver).host == "127.0.0.1"


class Broken(Scripted):
    def resolveHostName(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("out of order")


def test_a_resolver_that_raises_is_a_failed_lookup(reactor: Reactor) -> None:
    with pytest.raises(error.DNSLookupError, match="RuntimeError: out of order"):
        peer(reactor, 80, Broken())


GARBAGE = [
    IPv6Address("TCP", "::ffff:127.0.0.1%lo", 0),
    IPv6Address("TCP", "fe80::1", 0, 0, 1 << 30),
    IPv6Address("TCP", "fe80::1%nowhere", 0),
    IPv4Address("TCP", "localhost", 0),
    IPv4Address("TCP", "127.1", 0),
]


@pytest.mark.parametrize("address", GARBAGE)
def test_what_is_no_address_is_left_out_and_told(
    reactor: Reactor, tried: Tried, address: Any
) -> None:
    with serving(reactor) as port:
        before = open_descriptors()
        with pytest.raises(ConnectingError) as caught:
            peer(reactor, port, Scripted(address))
        assert address.host in str(caught.value)
        assert tried.addresses == []
        good = IPv4Address("TCP", "127.0.0.1", 0)
        assert peer(reactor, port, Scripted(address, good)).host == "127.0.0.1"
        del caught
        assert open_descriptors() <= before


def test_some_resolvers_give_an_IPv6_address_the_wrong_class(reactor: Reactor) -> None:
    with serving(reactor) as port:
        found = peer(reactor, port, Scripted(IPv4Address("TCP", "::1", 0)))
        assert found == IPv6Address("TCP", "::1", port)


def test_addresses_that_the_bindAddress_cannot_reach_are_told(
    reactor: Reactor, tried: Tried
) -> None:
    only_ipv6 = Scripted(IPv6Address("TCP", "::1", 0))
    with pytest.raises(ConnectingError, match=r"bindAddress 127\.0\.0\.1 can't reach ::1"):
        peer(reactor, 80, only_ipv6, bindAddress="127.0.0.1")
    only_mapped = Scripted(IPv6Address("TCP", "::ffff:127.0.0.1", 0))
    with pytest.raises(ConnectingError, match=r"bindAddress ::1 can't reach 127") as caught:
        peer(reactor, 80, only_mapped, bindAddress="::1")
    assert caught.value.attempts[0].address == ("127.0.0.1", 80)
    assert "::ffff" not in str(caught.value)
    assert tried.addresses == []


def test_cancelling_while_resolving_is_a_cancellation_and_stops_the_resolver(
    reactor: Reactor,
) -> None:
    resolver = Scripted(complete=False)
    connecting = begin(reactor, 80, resolver)
    failures: list[Any] = []
    connecting.addErrback(failures.append)
    connecting.cancel()
    assert failures[0].check(error.ConnectingCancelledError)
    assert failures[0].value.args[0] == HostnameAddress(NAME.encode(), 80)
    assert [resolution.cancelled for resolution in resolver.resolutions] == [True, True]
    assert not reactor.getDelayedCalls()


def test_time_is_up_while_resolving(reactor: Reactor) -> None:
    with pytest.raises(error.TimeoutError, match="still being resolved"):
        peer(reactor, 80, Scripted(complete=False), timeout=0.01)
    assert not reactor.getDelayedCalls()


def test_late_addresses_join(reactor: Reactor, tried: Tried) -> None:
    resolver = Scripted(IPv6Address("TCP", "::1", 0), complete=False)
    with serving(reactor, "127.0.0.1") as port:
        reactor.installNameResolver(resolver)
        receivers: list[Any] = []
        ask = resolver.resolveHostName

        def asking(receiver: Any, *args: Any, **kwargs: Any) -> Any:
            receivers.append(receiver)
            return ask(receiver, *args, **kwargs)

        resolver.resolveHostName = asking  # type: ignore[method-assign]
        connecting = begin(reactor, port, None)
        reactor.until(lambda: tried.addresses == ["::1"])
        receivers[0].addressResolved(IPv4Address("TCP", "127.0.0.1", 0))
        protocol = reactor.result_of(connecting)
        assert protocol.transport.getPeer().host == "127.0.0.1"
        # What comes after the end is of no use.
        receivers[0].addressResolved(IPv4Address("TCP", "127.0.0.2", 0))
        receivers[0].resolutionComplete()
        protocol.transport.abortConnection()
        reactor.until(lambda: protocol.factory.lost)
    assert tried.addresses == ["::1", "127.0.0.1"]


def test_firstAddressFamilyCount(reactor: Reactor, tried: Tried) -> None:
    resolver = Scripted(
        *(IPv4Address("TCP", f"127.0.0.{number}", 0) for number in (2, 3, 1)),
        IPv6Address("TCP", "::1", 0),
    )
    reactor.installNameResolver(resolver)
    with serving(reactor, "127.0.0.1") as port:
        peer(reactor, port, None, firstAddressFamilyCount=2, rememberOutcomes=False)
        assert tried.since() == ["127.0.0.2", "127.0.0.3", "::1", "127.0.0.1"]
        peer(reactor, port, None, rememberOutcomes=False)
        assert tried.since() == ["127.0.0.2", "::1", "127.0.0.3", "127.0.0.1"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("resolver", "localhost"),
        ("firstAddressFamilyCount", 0),
        ("firstAddressFamilyCount", True),
        ("mappedAddresses", "drop"),
    ],
)
def test_bad_options_are_named(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{option} {value!r}"):
        DualStackClientEndpoint(MemoryReactor(), NAME, 80, **{option: value})


def test_the_options_as_a_string(reactor: Reactor, tried: Tried) -> None:
    reactor.installNameResolver(
        Scripted(
            IPv6Address("TCP", "::1", 0),
            IPv6Address("TCP", "::ffff:127.0.0.1", 0),
            IPv4Address("TCP", "127.0.0.2", 0),
        )
    )
    with serving(reactor, "127.0.0.2") as port:
        for options, expected in (
            ("rememberOutcomes=no", ["::1", "127.0.0.1", "127.0.0.2"]),
            ("rememberOutcomes=no:mappedAddresses=refuse", ["::1", "127.0.0.2"]),
            ("firstAddressFamilyCount=2", ["::1", "127.0.0.1", "127.0.0.2"]),
            ("rememberOutcomes=yes", ["127.0.0.2"]),
        ):
            endpoint = clientFromString(reactor, f"dualstack:{NAME}:{port}:{options}")
            protocol = reactor.result_of(endpoint.connect(RecordingFactory()))
            protocol.transport.abortConnection()
            reactor.until(lambda protocol=protocol: protocol.factory.lost)
            assert tried.since() == expected


@pytest.mark.parametrize(
    "option", ["firstAddressFamilyCount=two", "rememberOutcomes=2", "mappedAddresses=drop"]
)
def test_bad_options_of_a_string_are_named(option: str) -> None:
    with pytest.raises(ValueError, match=option.replace("=", " '")):
        clientFromString(MemoryReactor(), f"dualstack:{NAME}:80:{option}")


class TestRemembering:
    """``::1`` refuses, 127.0.0.1 serves."""

    BOTH = (IPv6Address("TCP", "::1", 0), IPv4Address("TCP", "127.0.0.1", 0))

    @pytest.fixture(autouse=True)
    def resolver(self, reactor: Reactor) -> Scripted:
        resolver = Scripted(*self.BOTH)
        reactor.installNameResolver(resolver)
        return resolver

    def test_the_second_connection_begins_with_the_winner_for_ten_minutes(
        self, reactor: Reactor, tried: Tried
    ) -> None:
        with serving(reactor, "127.0.0.1") as port:
            peer(reactor, port, None)
            assert tried.since() == ["::1", "127.0.0.1"]
            for _ in range(3):
                peer(reactor, port, None)
                assert tried.since() == ["127.0.0.1"]
            began = reactor.seconds
            reactor.seconds = lambda: began() + 601  # type: ignore[method-assign]
            peer(reactor, port, None)
            assert tried.since() == ["::1", "127.0.0.1"]

    def test_it_is_for_one_port(self, reactor: Reactor, tried: Tried) -> None:
        with serving(reactor, "127.0.0.1") as port, serving(reactor, "127.0.0.1") as other:
            peer(reactor, port, None)
            tried.since()
            peer(reactor, other, None)
            assert tried.since() == ["::1", "127.0.0.1"]

    def test_it_can_be_switched_off(self, reactor: Reactor, tried: Tried) -> None:
        with serving(reactor, "127.0.0.1") as port:
            for _ in range(2):
                peer(reactor, port, None, rememberOutcomes=False)
                assert tried.since() == ["::1", "127.0.0.1"]

    def test_a_failure_ends_it(self, reactor: Reactor, tried: Tried) -> None:
        with serving(reactor, "127.0.0.1") as port:
            peer(reactor, port, None)
            assert tried.since() == ["::1", "127.0.0.1"]
        with serving(reactor, "::1", port):
            assert peer(reactor, port, None).host == "::1"
            assert tried.since() == ["127.0.0.1", "::1"]
        with serving(reactor, "::", port):
            assert peer(reactor, port, None).host == "::1"
            assert tried.since() == ["::1"]

    def test_an_address_that_fails_is_still_tried(self, reactor: Reactor, tried: Tried) -> None:
        with serving(reactor, "127.0.0.1") as port:
            peer(reactor, port, None)
            tried.since()
        for expected in (["127.0.0.1", "::1"], ["::1", "127.0.0.1"]):
            with pytest.raises(error.ConnectionRefusedError):
                peer(reactor, port, None)
            assert tried.since() == expected

    def test_an_address_that_the_name_has_no_longer_is_not_tried(
        self, reactor: Reactor, tried: Tried, resolver: Scripted
    ) -> None:
        with serving(reactor, "127.0.0.1") as port:
            peer(reactor, port, None)
            tried.since()
            resolver.answers = (IPv6Address("TCP", "::1", 0),)
            with pytest.raises(error.ConnectionRefusedError):
                peer(reactor, port, None)
            assert tried.since() == ["::1"]

    def test_a_refusal_holds_for_what_is_remembered(self, reactor: Reactor) -> None:
        class Refusing:
            @hookimpl
            def dsadapter_before_connect(self, attempt: Any) -> None:
                raise PermissionError(attempt.destination[0])

        with serving(reactor, "127.0.0.1") as port:
            peer(reactor, port, None)
            with registered(Refusing(), "refusing"):
                with pytest.raises(ConnectingError, match="refused: 127"):
                    peer(reactor, port, None)
