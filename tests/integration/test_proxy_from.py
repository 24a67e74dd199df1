"""``proxyFrom``: what the application sees of what a proxy has passed on, one test a row,
on a reactor whose ports are ours and on one that accepts for itself.

Each row also runs against Twisted's own ``haproxy:`` around the same endpoint, which shows what the
header has in it as it is.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from support.foreign_reactor import ForeignReactor
from support.listeners import RecordingFactory, stop
from support.proxy_headers import LOCAL, UNIX, version_1, version_2
from support.reactors import Reactor, open_descriptors
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource
from twisted.web.server import Site

from dsadapter.addressing import AddressSet
from dsadapter.frameworks.twisted import DualStackServerEndpoint
from dsadapter.testing import RecordingPlugin, registered

FROM_LOOPBACK = r"dualstack:0:proxyFrom=127.0.0.0/8,\:\:1"


@pytest.fixture(params=[Reactor, ForeignReactor], ids=["own-ports", "adopted"])
def any_reactor(request: pytest.FixtureRequest) -> Iterator[Any]:
    reactor = request.param()
    yield reactor
    reactor.close()


class Listening(NamedTuple):
    reactor: Any
    factory: RecordingFactory
    port: Any

    @property
    def number(self) -> int:
        number: int = self.port.getHost().port
        return number

    def connect(self, host: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection((host, self.number), timeout=20)

    def connection(self, sent: bytes, host: str = "127.0.0.1") -> Any:
        """The protocol of one connection, which has got what follows the header."""
        with self.connect(host) as client:
            client.sendall(sent + b"end")
            self.reactor.until(
                lambda: self.factory.made and b"end" in self.factory.made[-1].received
            )
        return self.factory.made[-1]

    def ending(self, sent: bytes, host: str = "127.0.0.1", *, shut: bool = False) -> None:
        """Be closed for what was sent."""
        with self.connect(host) as client:
            client.sendall(sent)
            if shut:
                client.shutdown(socket.SHUT_WR)
            client.setblocking(False)
            self.reactor.until(lambda: ended(client))


def ended(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


Listen = Callable[..., Listening]


@pytest.fixture
def listen(any_reactor: Any) -> Iterator[Listen]:
    listening: list[Listening] = []

    def listen(description: str = FROM_LOOPBACK, factory: Any = None) -> Listening:
        factory = factory or RecordingFactory()
        endpoint = serverFromString(any_reactor, description)
        port = any_reactor.result_of(endpoint.listen(factory))
        listening.append(Listening(any_reactor, factory, port))
        return listening[-1]

    yield listen
    for each in listening:
        stop(each.reactor, each.port)


V4 = ("IPv4Address", "192.0.2.1"), ("IPv4Address", "198.51.100.1")
V6 = ("IPv6Address", "2001:db8::1"), ("IPv6Address", "2001:db8::80")
MAPPED = "::ffff:192.0.2.1", "::ffff:198.51.100.1"
HEX = "::FFFF:c000:201", "0:0:0:0:0:ffff:c633:6401"

HEADERS = {
    "v1-tcp4": (version_1("192.0.2.1", "198.51.100.1", "TCP4"), V4),
    "v1-tcp6-mapped": (version_1(*MAPPED), V4),
    "v1-tcp6-mapped-in-hex": (version_1(*HEX), V4),
    "v1-tcp6": (version_1("2001:db8::1", "2001:db8::80"), V6),
    "v1-tcp6-one-dotted": (version_1("2001:db8::1", "198.51.100.1"), (V6[0], V4[1])),
    "v1-tcp6-mapped-client": (version_1(MAPPED[0], "2001:db8::80"), (V4[0], V6[1])),
    "v2-inet": (version_2("192.0.2.1", "198.51.100.1"), V4),
    "v2-inet6-mapped": (version_2(*MAPPED), V4),
    "v2-inet6": (version_2("2001:db8::1", "2001:db8::80"), V6),
    "v2-inet6-mapped-client": (version_2(MAPPED[0], "2001:db8::80"), (V4[0], V6[1])),
}
NO_ADDRESSES = {
    "v1-unknown": b"PROXY UNKNOWN\r\n",
    "v1-unknown-with-addresses": version_1("192.0.2.1", "198.51.100.1", "UNKNOWN"),
    "v2-local": LOCAL,
    "v2-unix": UNIX,
}


def shown(address: Any) -> tuple[str, str]:
    return type(address).__name__, address.host


class Seen(NamedTuple):
    """All that one connection shows of its addresses."""

    protocol: Any
    built_with: Any
    peer: tuple[str, str]
    local: tuple[str, str]


@pytest.fixture(params=HEADERS)
def seen(request: pytest.FixtureRequest, listen: Listen) -> Seen:
    header, (peer, local) = HEADERS[request.param]
    listening = listen()
    protocol = listening.connection(header)
    return Seen(protocol, *listening.factory.built_with, peer, local)


def test_P1_buildProtocol_address(seen: Seen) -> None:
    assert shown(seen.built_with) == seen.peer
    assert seen.built_with.port == 4000


def test_P2_transport_client_and_hostname(seen: Seen) -> None:
    tail = () if seen.peer[0] == "IPv4Address" else (0, 0)
    assert seen.protocol.transport.client == (seen.peer[1], 4000, *tail)
    assert seen.protocol.transport.hostname == seen.peer[1]


def test_P3_log_prefix(seen: Seen) -> None:
    assert seen.protocol.transport.logstr == f"Recorder,0,{seen.peer[1]}"


def test_P4_getPeer(seen: Seen) -> None:
    assert shown(seen.protocol.transport.getPeer()) == seen.peer


def test_P5_getHost(seen: Seen) -> None:
    host = seen.protocol.transport.getHost()
    assert (shown(host), host.port) == (seen.local, 80)


def test_P6_only_what_follows_the_header_is_the_applications(seen: Seen) -> None:
    assert seen.protocol.received == b"end"


def test_P7_getHandle_names(reactor: Reactor) -> None:
    factory = RecordingFactory()
    port = reactor.result_of(serverFromString(reactor, FROM_LOOPBACK).listen(factory))
    listening = Listening(reactor, factory, port)
    with listening.connect() as client:
        client.sendall(version_2(*MAPPED))
        reactor.until(lambda: factory.made)
        handle = factory.made[0].transport.getHandle()
        with handle.dup() as duplicate:
            for each in (handle, duplicate):
                assert each.getpeername() == ("192.0.2.1", 4000)
                assert each.getsockname() == ("198.51.100.1", 80)
    stop(reactor, port)


@pytest.mark.parametrize("header", NO_ADDRESSES.values(), ids=NO_ADDRESSES)
@pytest.mark.parametrize(
    ("host", "kind"), [("127.0.0.1", IPv4Address), ("::1", IPv6Address)], ids=["ipv4", "ipv6"]
)
def test_P8_without_addresses_those_of_the_connection_hold(
    listen: Listen, header: bytes, host: str, kind: type[Any]
) -> None:
    listening = listen()
    transport = listening.connection(header, host).transport
    for address in (*listening.factory.built_with, transport.getPeer(), transport.getHost()):
        assert (type(address), address.host) == (kind, host)
    assert transport.getHost().port == listening.number


@pytest.mark.parametrize(
    ("header", "text"),
    [(version_1(*MAPPED), MAPPED[0]), (version_2(*MAPPED), "0:0:0:0:0:ffff:c000:201")],
    ids=["v1", "v2"],
)
def test_haproxy_shows_the_same_header_mapped_and_itself_before(
    reactor: Reactor, header: bytes, text: str
) -> None:
    factory = RecordingFactory()
    port = reactor.result_of(serverFromString(reactor, "haproxy:dualstack:0").listen(factory))
    peer = Listening(reactor, factory, port).connection(header).transport.getPeer()
    assert shown(peer) == ("IPv6Address", text)
    assert shown(factory.built_with[0]) == ("IPv4Address", "127.0.0.1")
    stop(reactor, port)


def test_the_application_sees_nothing_before_the_header_has_come(listen: Listen) -> None:
    listening = listen()
    header = version_2(*MAPPED)
    with registered(RecordingPlugin()) as plugin, listening.connect() as client:
        for at in range(len(header)):
            client.sendall(header[at : at + 1])
            listening.reactor.iterate(0.01)
            if at < len(header) - 1:
                assert not listening.factory.built_with
                assert not plugin.of("connection_made")
        listening.reactor.until(lambda: listening.factory.made)


def test_plugins_are_told_of_the_client_and_of_the_proxy(any_reactor: Any, listen: Listen) -> None:
    with registered(RecordingPlugin()) as plugin:
        listening = listen()
        with listening.connect("::1") as client:
            own = client.getsockname()
            client.sendall(version_2(*MAPPED))
            any_reactor.until(lambda: listening.factory.made)
        any_reactor.until(lambda: listening.factory.lost)
        with listening.connect() as client:
            client.sendall(LOCAL)
            any_reactor.until(lambda: len(listening.factory.made) == 2)
    first, second = plugin.of("connection_made")
    assert (first.peer, first.local) == (("192.0.2.1", 4000), ("198.51.100.1", 80))
    assert (first.proxy, first.family, first.translated) == (own, "ipv4", False)
    assert plugin.of("connection_lost")[0] is first
    assert (second.proxy, second.peer[0], second.translated) == (None, "127.0.0.1", True)


def test_a_stranger_is_closed_counted_told_and_logged_once(
    listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    with registered(RecordingPlugin()) as plugin:
        listening = listen("dualstack:0:proxyFrom=192.0.2.7,127.0.0.1")
        for _ in range(3):
            listening.ending(version_1("192.0.2.1", "198.51.100.1", "TCP4"), "::1")
    assert listening.port.proxyCounters.strangers == 3
    assert not listening.factory.built_with
    assert [refusal.address[0] for refusal in plugin.of("operation_refused")] == 3 * ["::1"]
    [record] = [r for r in caplog.records if r.name == "dsadapter.proxied"]
    assert record.levelno == logging.WARNING
    assert "closed a connection from [::1]:" in record.getMessage()
    # The client of the one that was named isn't closed.
    assert shown(listening.connection(version_2(*MAPPED)).transport.getPeer()) == V4[0]


HOSTILE = {
    "no-header": b"GET / HTTP/1.0\r\n\r\n",
    "tls-first": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "over-long-v1": b"PROXY TCP4 " + 200 * b"1",
    "over-long-v2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    "port-as-text": b"PROXY TCP4 192.0.2.1 198.51.100.1 http 80\r\n",
    "port-too-high": b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 80\r\n",
    "no-address": b"PROXY TCP6 not-an-ip 2001:db8::80 4000 80\r\n",
    "octal": b"PROXY TCP4 010.0.0.1 198.51.100.1 4000 80\r\n",
    "zone": b"PROXY TCP6 fe80::1%eth0 2001:db8::80 4000 80\r\n",
    "lone-newline": b"PROXY TCP4 192.0.2.1 198.51.100.1 4000 80\n",
    "too-short-v2": b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x0c" + bytes(12),
    "version-3": b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c" + bytes(12),
    "cut-tlv": version_2("192.0.2.1", "198.51.100.1", b"\x02\xff\xff"),
}


@pytest.mark.parametrize("sent", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("pieces", [1, 7], ids=["at-once", "in-pieces"])
def test_hostile_headers_end_the_connection(
    listen: Listen, sent: bytes, pieces: int, caplog: pytest.LogCaptureFixture
) -> None:
    listening = listen()
    before = open_descriptors()
    with listening.connect() as client:
        client.setblocking(False)
        size = -(-len(sent) // pieces)
        try:
            for at in range(0, len(sent), size):
                client.send(sent[at : at + size])
                listening.reactor.iterate(0.01)
        except (BrokenPipeError, ConnectionResetError):
            pass
        else:
            listening.reactor.until(lambda: ended(client))
    assert listening.port.proxyCounters.malformed == 1
    assert not listening.factory.built_with
    [text] = [r.getMessage() for r in caplog.records if r.name == "dsadapter.proxied"]
    assert text.isprintable()
    assert "PROXY header" in text
    assert open_descriptors() <= before


def test_a_connection_that_ends_within_its_header_is_counted(listen: Listen) -> None:
    listening = listen()
    listening.ending(version_2(*MAPPED)[:-1], shut=True)
    listening.ending(b"", shut=True)
    assert listening.port.proxyCounters.cut == 2
    assert not listening.factory.built_with


def test_headers_that_are_late_end_their_connections_and_no_others(listen: Listen) -> None:
    listening = listen(FROM_LOOPBACK + ":proxyTimeout=0.3")
    with listening.connect() as silent, listening.connect() as slow:
        slow.sendall(version_2(*MAPPED)[:-1])
        assert listening.connection(version_2(*MAPPED))
        for client in (silent, slow):
            client.setblocking(False)
            listening.reactor.until(lambda client=client: ended(client))
    assert listening.port.proxyCounters.late == 2
    assert listening.port.proxyCounters.passed == 1
    assert len(listening.factory.built_with) == 1


def test_stopping_closes_those_that_wait_and_leaves_nothing(reactor: Reactor) -> None:
    factory = RecordingFactory()
    port = reactor.result_of(serverFromString(reactor, FROM_LOOPBACK).listen(factory))
    client = Listening(reactor, factory, port).connect()
    client.setblocking(False)
    reactor.until(lambda: reactor.getDelayedCalls())
    stop(reactor, port)
    reactor.until(lambda: ended(client))
    client.close()
    assert not reactor.getDelayedCalls()
    assert not factory.built_with
    assert port.proxyCounters.cut == port.proxyCounters.late == 0


def test_a_factory_that_builds_nothing_closes(listen: Listen) -> None:
    class Unbuilding(RecordingFactory):
        def buildProtocol(self, addr: Any) -> None:
            self.built_with.append(addr)

    with registered(RecordingPlugin()) as plugin:
        listening = listen(factory=Unbuilding())
        listening.ending(version_2(*MAPPED))
    assert [shown(each) for each in listening.factory.built_with] == [V4[0]]
    assert [each.address for each in plugin.of("operation_refused")] == [("192.0.2.1", 4000)]


def test_a_factory_that_fails_closes_and_accepting_goes_on(reactor: Reactor) -> None:
    class Failing(RecordingFactory):
        def buildProtocol(self, addr: Any) -> Any:
            if addr.host == "192.0.2.1":
                raise ArithmeticError
            return super().buildProtocol(addr)

    factory = Failing()
    port = reactor.result_of(serverFromString(reactor, FROM_LOOPBACK).listen(factory))
    listening = Listening(reactor, factory, port)
    listening.ending(version_2(*MAPPED))
    assert listening.connection(version_2("2001:db8::1", "2001:db8::80"))
    stop(reactor, port)


def test_the_access_log_has_the_client(listen: Listen, any_reactor: Any) -> None:
    class Page(Resource):
        isLeaf = True  # noqa: N815

        def render_GET(self, request: Any) -> bytes:
            return request.getClientAddress().host.encode()  # type: ignore[no-any-return]

    lines: list[str] = []

    def formatter(timestamp: str, request: Any) -> str:
        lines.append(request.getClientAddress().host)
        return ""

    listening = listen(factory=Site(Page(), logFormatter=formatter, reactor=any_reactor))
    with listening.connect() as client:
        client.sendall(version_1(*MAPPED) + b"GET / HTTP/1.0\r\n\r\n")
        client.setblocking(False)
        received: list[bytes] = []

        def whole() -> bool:
            try:
                received.append(client.recv(4096))
            except BlockingIOError:
                return False
            return not received[-1]

        any_reactor.until(whole)
    assert b"".join(received).endswith(b"192.0.2.1")
    assert lines == ["192.0.2.1"]


@pytest.mark.parametrize(
    "named", [["127.0.0.1"], AddressSet(["127.0.0.0/8"]), ["::ffff:127.0.0.1"]], ids=repr
)
def test_the_constructor_takes_rules_and_sets(reactor: Reactor, named: Any) -> None:
    factory = RecordingFactory()
    endpoint = DualStackServerEndpoint(reactor, 0, proxyFrom=named, proxyTimeout=2)
    port = reactor.result_of(endpoint.listen(factory))
    peer = Listening(reactor, factory, port).connection(version_2(*MAPPED)).transport.getPeer()
    assert shown(peer) == V4[0]
    assert port.policy.proxy_from == AddressSet(named)
    stop(reactor, port)


def test_both_sockets_of_a_pair_take_headers(reactor: Reactor) -> None:
    factory = RecordingFactory()
    description = FROM_LOOPBACK + ":interface=localhost"
    port = reactor.result_of(serverFromString(reactor, description).listen(factory))
    listening = Listening(reactor, factory, port)
    for host in ("127.0.0.1", "::1"):
        assert shown(listening.connection(version_2(*MAPPED), host).transport.getPeer()) == V4[0]
    stop(reactor, port)


def test_without_the_option_there_are_no_counters(reactor: Reactor) -> None:
    port = reactor.result_of(serverFromString(reactor, "dualstack:0").listen(RecordingFactory()))
    assert port.proxyCounters is None
    stop(reactor, port)
