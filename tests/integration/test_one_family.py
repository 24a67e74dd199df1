"""``family=`` beside ``::`` and ``localhost``: one family, because that was asked for."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from support.certificates import Files, older_pyopenssl_api
from support.datagrams import Echo, peer
from support.foreign_reactor import ForeignReactor
from support.listeners import RecordingFactory, connects, stop
from support.reactors import Reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.testing import MemoryReactor

from dsadapter.frameworks.twisted import (
    DualStackDatagramEndpoint,
    DualStackServerEndpoint,
)
from dsadapter.policy import DatagramPolicy, ListenPolicy

pytestmark = pytest.mark.usefixtures("global_clock")

Family = Literal["ipv4", "ipv6"]
LOOPBACK = {"ipv4": "127.0.0.1", "ipv6": "::1"}
WILDCARD = {"ipv4": "0.0.0.0", "ipv6": "::"}
FAMILIES: list[Family] = ["ipv4", "ipv6"]
V6ONLY = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)

Listen = Callable[..., Any]


def _listened(reactor: Any, endpoint: Any) -> Any:
    return reactor.result_of(endpoint.listen(RecordingFactory()))


def stream(reactor: Any, family: str | None, interface: str = "::", port: int = 0) -> Any:
    options: dict[str, Any] = {"family": family} if family else {}
    return _listened(
        reactor, DualStackServerEndpoint(reactor, port, interface=interface, **options)
    )


def by_string(reactor: Any, family: str | None, interface: str = "::", port: int = 0) -> Any:
    options = f":family={family}" if family else ""
    options += ":interface=localhost" if interface == "localhost" else ""
    return _listened(reactor, serverFromString(reactor, f"dualstack:{port}{options}"))


@pytest.fixture(params=["epoll", "foreign"])
def runtime(request: pytest.FixtureRequest) -> Iterator[Any]:
    made: Any = ForeignReactor() if request.param == "foreign" else Reactor()
    yield made
    made.close()


STREAMS = pytest.mark.parametrize("listen", [stream, by_string])


@STREAMS
@pytest.mark.parametrize("interface", ["::", "localhost"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_listener_serves_that_family_alone(
    runtime: Any, listen: Listen, interface: str, family: Family
) -> None:
    port = listen(runtime, family, interface)
    try:
        served = WILDCARD if interface == "::" else LOOPBACK
        assert port.mode == family
        assert port.getHost().host == served[family]
        number = port.getHost().port
        for each, host in LOOPBACK.items():
            assert connects(host, number) is (each == family)
    finally:
        stop(runtime, port)


@STREAMS
@pytest.mark.parametrize("interface", ["::", "localhost"])
def test_it_serves_both_unless_it_is_asked(runtime: Any, listen: Listen, interface: str) -> None:
    port = listen(runtime, None, interface)
    number = port.getHost().port
    assert all(connects(host, number) for host in LOOPBACK.values())
    stop(runtime, port)


@STREAMS
@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_can_have_a_listener_of_its_own(
    runtime: Any, listen: Listen, family: Family
) -> None:
    """What another program has in the other family is left to it."""
    other = "ipv6" if family == "ipv4" else "ipv4"
    with held(other) as number:
        port = listen(runtime, family, port=number)
        assert port.mode == family
        assert connects(LOOPBACK[family], number)
        stop(runtime, port)


@contextlib.contextmanager
def held(family: str, kind: int = socket.SOCK_STREAM) -> Iterator[int]:
    """A port that somebody holds in one family."""
    number = socket.AF_INET6 if family == "ipv6" else socket.AF_INET
    with socket.socket(number, kind) as holder:
        if family == "ipv6":
            holder.setsockopt(*V6ONLY, 1)
        holder.bind((WILDCARD[family], 0))
        if kind == socket.SOCK_STREAM:
            holder.listen()
        yield holder.getsockname()[1]


@older_pyopenssl_api
@pytest.mark.parametrize("family", FAMILIES)
def test_a_TLS_listener_serves_that_family_alone(
    reactor: Reactor, tmp_path: Any, family: Family
) -> None:
    files = Files.written_to(tmp_path / "tls")
    description = files.filled(
        f"dualstack:0:family={family}:privateKey={{key}}:certKey={{certificate}}"
    )
    port = _listened(reactor, serverFromString(reactor, description))
    number = port.getHost().port
    for each, host in LOOPBACK.items():
        assert connects(host, number) is (each == family)
    stop(reactor, port)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.not_on_windows("a datagram socket hears of no refusals there")
def test_a_datagram_port_serves_that_family_alone(reactor: Reactor, family: Any) -> None:
    endpoint = DualStackDatagramEndpoint(reactor, 0, family=family)
    protocol = Echo()
    port = reactor.result_of(endpoint.listen(protocol))
    try:
        assert (port.mode, port.getHost().host) == (family, WILDCARD[family])
        number = port.getHost().port
        with peer(LOOPBACK[family]) as client:
            client.sendto(b"x", (LOOPBACK[family], number))
            reactor.until(lambda: protocol.got)
            assert client.recvfrom(10)[1][0] == LOOPBACK[family]
        other = "ipv6" if family == "ipv4" else "ipv4"
        with peer(LOOPBACK[other]) as client:
            client.connect((LOOPBACK[other], number))
            client.send(b"x")
            with pytest.raises(ConnectionRefusedError):
                client.recv(10)
    finally:
        stop(reactor, port)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_datagram_port_leaves_the_other_family_to_others(reactor: Reactor, family: Any) -> None:
    other = "ipv6" if family == "ipv4" else "ipv4"
    with held(other, socket.SOCK_DGRAM) as number:
        endpoint = DualStackDatagramEndpoint(reactor, number, family=family)
        stop(reactor, reactor.result_of(endpoint.listen(DatagramProtocol())))


POLICIES: list[Any] = [ListenPolicy, DatagramPolicy]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("interface", ["", "::", "0:0:0:0:0:0:0:0"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_policy_for_a_wildcard(policy: Any, interface: str, family: str) -> None:
    made = policy(interface, 80, family=family)
    assert (made.mode, made.host) == (family, WILDCARD[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_policy_for_localhost(family: Any) -> None:
    made: Any = ListenPolicy("localhost", 80, family=family)
    assert (made.mode, made.host) == (family, LOOPBACK[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_one_address_of_localhost_is_enough_for_datagrams(family: Any) -> None:
    made: Any = DatagramPolicy("localhost", 80, family=family)
    assert (made.mode, made.host) == (family, LOOPBACK[family])


MEANINGLESS = [
    ("::", "ipv5"),
    ("::", "IPv6"),
    ("::", ""),
    ("127.0.0.1", "ipv6"),
    ("0.0.0.0", "ipv6"),
    ("::1", "ipv4"),
]


def constructed(reactor: Any, interface: str, family: str) -> None:
    DualStackServerEndpoint(reactor, 80, interface=interface, family=family)


def constructed_for_datagrams(reactor: Any, interface: str, family: str) -> None:
    DualStackDatagramEndpoint(reactor, 80, interface=interface, family=family)


def described(reactor: Any, interface: str, family: str) -> None:
    escaped = interface.replace(":", r"\:")
    serverFromString(reactor, f"dualstack:80:interface={escaped}:family={family}")


@pytest.mark.parametrize("make", [constructed, constructed_for_datagrams, described])
@pytest.mark.parametrize(("interface", "family"), MEANINGLESS)
def test_what_means_nothing_is_named_with_the_remedy(
    reactor: Reactor, make: Any, interface: str, family: str
) -> None:
    with pytest.raises(ValueError) as caught:
        make(reactor, interface, family)
    text = str(caught.value)
    assert f"family {family!r}" in text
    assert "'ipv4'" in text or "ipv4, ipv6" in text or repr(interface) in text


@pytest.mark.parametrize("interface", ["::", "localhost"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_test_reactor_is_asked_for_it(interface: str, family: Any) -> None:
    reactor = MemoryReactor()
    endpoint = DualStackServerEndpoint(reactor, 80, interface=interface, family=family)
    endpoint.listen(RecordingFactory())
    [(_, _, _, asked)] = reactor.tcpServers
    assert asked == (WILDCARD if interface == "::" else LOOPBACK)[family]


@STREAMS
@pytest.mark.parametrize("holder", FAMILIES)
def test_a_held_port_offers_the_other_family(runtime: Any, listen: Listen, holder: str) -> None:
    with held(holder) as number:
        with pytest.raises(CannotListenError) as caught:
            listen(runtime, None, port=number)
    offered, shown = ("ipv6", "IPv6") if holder == "ipv4" else ("ipv4", "IPv4")
    host = f"[{WILDCARD[holder]}]" if ":" in WILDCARD[holder] else WILDCARD[holder]
    assert f"{host}:{number} is held by another socket" in str(caught.value)
    assert f"family={offered}" in str(caught.value)
    assert f"serves {shown} alone" in str(caught.value)


@pytest.mark.parametrize("holder", FAMILIES)
def test_a_held_port_of_datagrams_offers_it_too(reactor: Reactor, holder: str) -> None:
    with held(holder, socket.SOCK_DGRAM) as number:
        endpoint = DualStackDatagramEndpoint(reactor, number)
        with pytest.raises(CannotListenError) as caught:
            reactor.result_of(endpoint.listen(DatagramProtocol()))
    assert "is held by another socket" in str(caught.value)
    assert f"family={'ipv6' if holder == 'ipv4' else 'ipv4'}" in str(caught.value)


def test_a_port_that_both_families_hold_offers_nothing(runtime: Any) -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as holder:
        with pytest.raises(CannotListenError) as caught:
            stream(runtime, None, port=holder.getsockname()[1])
    assert "family=" not in str(caught.value)
