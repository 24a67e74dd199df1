"""``DualStackServerEndpoint`` on real sockets of both families."""

from __future__ import annotations

import errno
import re
import socket
import subprocess
from typing import Any

import pytest
from support.listeners import RecordingFactory, connects, stop
from support.reactors import Reactor, open_descriptors
from support.spellings import EVERY, LOOPBACK, SPELLINGS
from support.windows import counts_descriptors, lacking_in_wine, nothing_is_mapped, runs_tools
from twisted.internet import tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReadDescriptor, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from zope.interface import providedBy
from zope.interface.verify import verifyObject

from dsadapter.frameworks.twisted import DualStackServerEndpoint
from dsadapter.interfaces import IListener

V6ONLY = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
IPV4_INTERFACES = {text: shown for text, shown in EVERY if "." in shown}


def listen(reactor: Reactor, port: int, interface: str = "::", **options: Any) -> Any:
    endpoint = DualStackServerEndpoint(reactor, port, interface=interface, **options)
    return reactor.result_of(endpoint.listen(RecordingFactory()))


@pytest.mark.parametrize("interface", SPELLINGS["::"])
@counts_descriptors
def test_one_socket_serves_both_families(reactor: Reactor, interface: str) -> None:
    port = listen(reactor, 0, interface)
    before = open_descriptors()
    number = port.getHost().port
    assert port.getHost() == IPv6Address("TCP", "::", number)
    assert port.socket.family == socket.AF_INET6
    assert port.socket.getsockopt(*V6ONLY) == 0
    clients = [socket.create_connection((host, number)) for host in ("127.0.0.1", "::1")]
    reactor.until(lambda: len(port.factory.made) == 2)
    ipv4, ipv6 = (recorder.transport for recorder in port.factory.made)
    assert ipv4.getPeer() == IPv4Address("TCP", *clients[0].getsockname())
    assert ipv4.getHost() == IPv4Address("TCP", "127.0.0.1", number)
    assert ipv6.getPeer() == IPv6Address("TCP", *clients[1].getsockname())
    assert ipv6.getHost() == IPv6Address("TCP", "::1", number)
    for client in clients:
        client.close()
    reactor.until(lambda: not any(r.transport.connected for r in port.factory.made))
    assert open_descriptors() <= before
    stop(reactor, port)


@counts_descriptors
def test_listening_takes_one_descriptor(reactor: Reactor) -> None:
    # Twisted reserves a descriptor for EMFILE recovery with the first port of a process.
    stop(reactor, listen(reactor, 0))
    before = open_descriptors()
    port = listen(reactor, 0)
    assert len(open_descriptors() - before) == 1
    stop(reactor, port)
    assert open_descriptors() <= before


@pytest.mark.parametrize("interface", IPV4_INTERFACES)
def test_an_IPv4_interface_is_not_widened(reactor: Reactor, interface: str) -> None:
    port = listen(reactor, 0, interface)
    number = port.getHost().port
    assert port.getHost() == IPv4Address("TCP", IPV4_INTERFACES[interface], number)
    assert port.socket.family == socket.AF_INET
    assert connects("127.0.0.1", number)
    assert not connects("::1", number)
    stop(reactor, port)


@pytest.mark.parametrize("interface", SPELLINGS["::1"])
def test_an_IPv6_interface_is_not_widened(reactor: Reactor, interface: str) -> None:
    port = listen(reactor, 0, interface)
    number = port.getHost().port
    assert port.getHost() == IPv6Address("TCP", "::1", number)
    assert port.socket.getsockopt(*V6ONLY) == 1
    assert connects("::1", number)
    assert not connects("127.0.0.1", number)
    stop(reactor, port)


def test_loopback_is_not_widened_to_other_addresses(reactor: Reactor) -> None:
    port = listen(reactor, 0, "127.0.0.1")
    assert not connects("127.0.0.2", port.getHost().port)
    stop(reactor, port)


@nothing_is_mapped
def test_nothing_stands_between_reactor_and_protocol(reactor: Reactor) -> None:
    port = listen(reactor, 0)
    stock = reactor.listenTCP(0, RecordingFactory(), interface="::")
    transports = []
    clients = []
    for listening in (port, stock):
        clients.append(socket.create_connection(("127.0.0.1", listening.getHost().port)))
        factory = listening.factory
        reactor.until(lambda factory=factory: factory.made)
        transports.append(factory.made[0].transport)
    ours, theirs = transports
    assert type(ours) is tcp.Server
    assert isinstance(port, tcp.Port)
    assert {port, ours} <= set(reactor.getReaders())
    assert list(providedBy(ours)) == list(providedBy(theirs))
    assert set(providedBy(port)) == {*providedBy(stock), IListener}
    for thing in (ours, port):
        for interface in providedBy(thing):
            assert verifyObject(interface, thing)
    assert verifyObject(IListeningPort, port)
    assert verifyObject(IReadDescriptor, port)
    for transport, client in zip(transports, clients, strict=True):
        transport.abortConnection()
        client.close()
    reactor.iterate(0)
    stop(reactor, port, stock)


def test_the_endpoint_provides_Twisteds_interface(reactor: Reactor) -> None:
    endpoint = serverFromString(reactor, "dualstack:0")
    assert type(endpoint) is DualStackServerEndpoint
    assert verifyObject(IStreamServerEndpoint, endpoint)


def test_a_port_can_be_stopped_and_started_again(reactor: Reactor) -> None:
    port = listen(reactor, 0)
    number = port.getHost().port
    client = socket.create_connection(("127.0.0.1", number))
    reactor.until(lambda: port.factory.made)
    stop(reactor, port)
    assert not connects("127.0.0.1", number)
    port.startListening()
    assert connects("::1", port.getHost().port)
    assert connects("127.0.0.1", port.getHost().port)
    # A connection of before goes on.
    port.factory.made[0].transport.write(b"still here")
    reactor.iterate(0)
    assert client.recv(10) == b"still here"
    client.close()
    stop(reactor, port)


@lacking_in_wine("lets a duplicate of a socket that was shut down accept")
def test_stopListening_shuts_the_socket_down(reactor: Reactor) -> None:
    port = listen(reactor, 0)
    with port.socket.dup():
        number = port.getHost().port
        stop(reactor, port)
        assert not connects("127.0.0.1", number)


class Refusing(Factory):
    noisy = False

    def __init__(self, outcome: Exception | None) -> None:
        self.outcome = outcome
        self.asked = 0

    def buildProtocol(self, addr: Any) -> None:
        self.asked += 1
        if self.outcome is not None:
            raise self.outcome


@pytest.mark.parametrize("outcome", [None, RuntimeError("no")], ids=["None", "raises"])
def test_a_factory_that_builds_no_protocol_leaves_nothing_open(
    reactor: Reactor, outcome: Exception | None
) -> None:
    factory = Refusing(outcome)
    port = reactor.result_of(DualStackServerEndpoint(reactor, 0).listen(factory))
    before = open_descriptors()
    for host in ("127.0.0.1", "::1"):
        with socket.create_connection((host, port.getHost().port)) as client:
            reactor.until(lambda: factory.asked)
            assert client.recv(1) == b""
        factory.asked = 0
    assert open_descriptors() <= before
    stop(reactor, port)


@pytest.mark.parametrize(
    ("family", "held", "message"),
    [
        (socket.AF_INET, "0.0.0.0", "0.0.0.0:{} is held"),
        (socket.AF_INET, "127.0.0.1", "127.0.0.1:{} is held"),
        (socket.AF_INET, "127.0.0.3", "port {} of an IPv4 address is held"),
        (socket.AF_INET6, "::", "[::]:{} is held"),
        pytest.param(
            *(socket.AF_INET6, "::1", "[::1]:{} is held"),
            marks=pytest.mark.not_on_windows("nothing there tells a socket on ::1 from one on ::"),
        ),
    ],
)
def test_a_held_port_says_by_which_family_and_address(
    reactor: Reactor, family: socket.AddressFamily, held: str, message: str
) -> None:
    with socket.socket(family) as holder:
        if family == socket.AF_INET6:
            holder.setsockopt(*V6ONLY, 1)
        holder.bind((held, 0))
        holder.listen()
        number = holder.getsockname()[1]
        before = open_descriptors()
        deferred = DualStackServerEndpoint(reactor, number).listen(RecordingFactory())
        assert deferred.called
        with pytest.raises(CannotListenError) as caught:
            reactor.result_of(deferred)
        assert caught.value.socketError.errno == errno.EADDRINUSE
        assert caught.value.port == number
        assert (
            f"{message.format(number)} by another socket; a dual-stack listener needs both families"
        ) in str(caught.value)
        del caught
        assert open_descriptors() <= before


@pytest.mark.parametrize(("interface", "shown"), LOOPBACK)
def test_errors_and_repr_show_one_spelling(reactor: Reactor, interface: str, shown: str) -> None:
    holder = listen(reactor, 0, interface)
    number = holder.getHost().port
    name = f"[{shown}]:{number}" if ":" in shown else f"{shown}:{number}"
    endpoint = DualStackServerEndpoint(reactor, number, interface=interface)
    assert name in repr(endpoint)
    with pytest.raises(CannotListenError, match=f"{re.escape(name)} is held") as caught:
        reactor.result_of(endpoint.listen(RecordingFactory()))
    assert caught.value.interface == shown
    del caught
    stop(reactor, holder)


def test_a_port_held_by_a_dual_stack_socket_names_both_families(reactor: Reactor) -> None:
    holder = listen(reactor, 0)
    number = holder.getHost().port
    with pytest.raises(CannotListenError) as caught:
        listen(reactor, number)
    assert f"0.0.0.0:{number} and [::]:{number} are held by another socket" in str(caught.value)
    stop(reactor, holder)


@pytest.mark.parametrize(
    ("interface", "name", "number"),
    [
        ("192.0.2.77", "192.0.2.77:0", errno.EADDRNOTAVAIL),
        ("2001:db8::77", "[2001:db8::77]:0", errno.EADDRNOTAVAIL),
        ("2001:0DB8:0:0:0:0:0:77", "[2001:db8::77]:0", errno.EADDRNOTAVAIL),
        ("FE80:0::1%no-such-if", "fe80::1%no-such-if", errno.ENODEV),
        ("fe80::1%no-such-if", "fe80::1%no-such-if", errno.ENODEV),
    ],
)
def test_an_address_that_is_not_here_is_named(
    reactor: Reactor, interface: str, name: str, number: int
) -> None:
    before = open_descriptors()
    with pytest.raises(CannotListenError) as caught:
        listen(reactor, 0, interface)
    assert name in str(caught.value)
    assert caught.value.socketError.errno == number
    del caught
    assert open_descriptors() <= before


def test_a_factory_that_cannot_start_leaves_nothing_open(reactor: Reactor) -> None:
    class Failing(RecordingFactory):
        def startFactory(self) -> None:
            raise RuntimeError("no")

    stop(reactor, listen(reactor, 0))
    before = open_descriptors()
    with pytest.raises(RuntimeError, match="no"):
        reactor.result_of(DualStackServerEndpoint(reactor, 0).listen(Failing()))
    assert open_descriptors() <= before


@runs_tools
def test_backlog_reaches_the_kernel(reactor: Reactor) -> None:
    port = listen(reactor, 0, backlog=7)
    number = port.getHost().port
    [line] = subprocess.run(
        ["ss", "-H", "-ltn", f"sport = :{number}"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert line.split()[2] == "7"
    stop(reactor, port)


@pytest.mark.not_on_windows("it has no SO_REUSEPORT")
def test_reusePort_shares_a_port_only_when_both_ask(reactor: Reactor) -> None:
    first = listen(reactor, 0, reusePort=True)
    number = first.getHost().port
    second = listen(reactor, number, reusePort=True)
    with pytest.raises(CannotListenError):
        listen(reactor, number)
    stop(reactor, first, second)


@pytest.mark.parametrize(
    ("interface", "recorded"),
    [
        ("::", "::"),
        ("", "::"),
        *EVERY,
        ("LOCALHOST", "localhost"),
    ],
)
def test_a_reactor_without_descriptors_is_asked_and_nothing_opens(
    interface: str, recorded: str
) -> None:
    reactor = MemoryReactor()
    factory = RecordingFactory()
    before = open_descriptors()
    deferred = DualStackServerEndpoint(reactor, 8080, interface=interface, backlog=9).listen(
        factory
    )
    assert deferred.called
    assert reactor.tcpServers == [(8080, factory, 9, recorded)]
    assert open_descriptors() <= before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"port": -1}, "port -1 is not a whole number from 0 to 65535"),
        ({"port": 65536}, "port 65536"),
        ({"port": "80"}, "port '80'"),
        ({"port": True}, "port True"),
        ({"backlog": 0}, "backlog 0"),
        ({"fallback": "both"}, "fallback 'both' is none of auto, pair, ipv4, ipv6, fail"),
        ({"interface": "127.0.0.1", "fallback": "pair"}, "one family only, and stays so"),
        ({"interface": "example.com"}, "interface 'example.com'"),
        ({"interface": "[::1]"}, r"'\[::1\]' has brackets"),
        ({"interface": "127.1"}, "interface '127.1'"),
        ({"interface": "::ffff:127.0.0.1%lo"}, "zone id"),
        ({"interface": "::%lo"}, "write '::'"),
        ({"interface": "::1%lo"}, "write '::1'"),
        ({"interface": "010.0.0.1"}, "leading zeros"),
        ({"interface": b"::"}, "is not text"),
    ],
)
def test_bad_arguments_are_named_before_anything_opens(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        DualStackServerEndpoint(MemoryReactor(), **{"port": 0, **arguments})
