"""What a user is told when an address can't be used: the cause, and what to do about it.

Every fault is real: each machine is a network namespace.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.datagrams import Recorder, listen
from support.listeners import RecordingFactory
from support.machines import switch_off_ipv6
from support.namespaces import Namespace, namespace, needs_root
from support.processes import running_command
from support.reactors import Reactor
from twisted.internet import error
from twisted.internet.endpoints import clientFromString, quoteStringArgument, serverFromString

from dsadapter.frameworks.twisted import (
    DualStackClientEndpoint,
    DualStackDatagramEndpoint,
    DualStackServerEndpoint,
)

pytestmark = needs_root
PORT = 9
ERRORS = (OSError, error.CannotListenError, error.ConnectError)
Act = Callable[[Reactor, str], Any]


def peer_of(address: str) -> str:
    """A peer of an address's family, to which there is a route."""
    return "::1" if ":" in address else "127.0.0.1"


def listening(reactor: Reactor, address: str) -> Any:
    endpoint = DualStackServerEndpoint(reactor, 0, interface=address)
    return reactor.result_of(endpoint.listen(RecordingFactory()))


def listening_by_string(reactor: Reactor, address: str) -> Any:
    description = f"dualstack:0:interface={quoteStringArgument(address)}"
    endpoint = serverFromString(reactor, description)
    return reactor.result_of(endpoint.listen(RecordingFactory()))


def binding_datagrams(reactor: Reactor, address: str) -> Any:
    endpoint = DualStackDatagramEndpoint(reactor, 0, interface=address)
    return reactor.result_of(endpoint.listen(Recorder()))


def connecting(reactor: Reactor, address: str) -> Any:
    endpoint = DualStackClientEndpoint(reactor, address, PORT)
    return reactor.result_of(endpoint.connect(RecordingFactory()))


def connecting_by_string(reactor: Reactor, address: str) -> Any:
    endpoint = clientFromString(reactor, f"dualstack:{quoteStringArgument(address)}:{PORT}")
    return reactor.result_of(endpoint.connect(RecordingFactory()))


def connecting_from(reactor: Reactor, address: str) -> Any:
    endpoint = DualStackClientEndpoint(reactor, peer_of(address), PORT, bindAddress=address)
    return reactor.result_of(endpoint.connect(RecordingFactory()))


def connecting_from_by_string(reactor: Reactor, address: str) -> Any:
    host, source = quoteStringArgument(peer_of(address)), quoteStringArgument(address)
    endpoint = clientFromString(reactor, f"dualstack:{host}:{PORT}:bindAddress={source}")
    return reactor.result_of(endpoint.connect(RecordingFactory()))


def with_port(reactor: Reactor, use: Callable[[Any], object]) -> None:
    port = listen(reactor, Recorder())
    try:
        use(port)
    finally:
        reactor.result_of(port.stopListening())


def writing(reactor: Reactor, address: str) -> None:
    with_port(reactor, lambda port: port.write(b"x", (address, PORT)))


def writing_from(reactor: Reactor, address: str) -> None:
    with_port(reactor, lambda port: port.write(b"x", (peer_of(address), PORT), source=address))


def connecting_datagrams(reactor: Reactor, address: str) -> None:
    with_port(reactor, lambda port: port.connect(address, PORT))


def told(place: Namespace, act: Act, address: str) -> str:
    """The text of the error on a machine."""
    reactor = Reactor()
    try:
        with place.entered(), pytest.raises(ERRORS) as caught:
            act(reactor, address)
    finally:
        reactor.close()
    return str(caught.value)


LISTENING = (listening, listening_by_string, binding_datagrams)
CONNECTING_FROM = (connecting_from, connecting_from_by_string)
CONNECTING = (connecting, connecting_by_string)
SENDING = (writing, connecting_datagrams)


@pytest.fixture(scope="module")
def place() -> Iterator[Namespace]:
    """A machine with one network and some routes."""
    with namespace() as made:
        made.run("ip", "link", "add", "wire", "type", "veth", "peer", "name", "far")
        for end in ("wire", "far"):
            made.run("ip", "link", "set", end, "up")
        made.add_addresses("wire", "10.5.0.1", "fd00:5::1")
        made.run("ip", "route", "add", "prohibit", "10.6.0.1/32")
        made.run("ip", "-6", "route", "add", "prohibit", "fd00:6::1/128")
        yield made


@pytest.fixture(scope="module")
def bare() -> Iterator[Namespace]:
    """A machine with nothing but loopback."""
    with namespace() as made:
        yield made


@pytest.mark.parametrize(
    "act",
    [
        *(*LISTENING, *CONNECTING_FROM, *CONNECTING),
        writing,
        connecting_datagrams,
        writing_from,
    ],
)
def test_a_link_local_address_without_a_zone_asks_for_it(bare: Namespace, act: Act) -> None:
    assert re.search(r"fe80::9%\w+", told(bare, act, "fe80::9"))


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
@pytest.mark.parametrize("act", [*LISTENING, *CONNECTING_FROM, writing_from])
def test_an_address_that_is_not_this_machines_is_said_to_be_none(
    place: Namespace, act: Act, address: str
) -> None:
    assert "address of this machine" in told(place, act, address)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
@pytest.mark.parametrize(
    "act",
    [
        *(*LISTENING, *CONNECTING_FROM, *CONNECTING),
        *SENDING,
        writing_from,
    ],
)
def test_an_address_that_can_not_be_used_is_named(place: Namespace, act: Act, address: str) -> None:
    assert address in told(place, act, address)


@pytest.fixture(scope="module")
def tentative() -> Iterator[Namespace]:
    """A machine that is still asking whether somebody else has its address fd00:5::2."""
    with namespace() as made:
        made.run("ip", "link", "add", "wire", "type", "veth", "peer", "name", "far")
        made.run("sysctl", "-qw", "net.ipv6.conf.wire.dad_transmits=3600")
        for end in ("wire", "far"):
            made.run("ip", "link", "set", end, "up")
        made.run("ip", "-6", "address", "add", "fd00:5::2/64", "dev", "wire")
        yield made


@pytest.mark.parametrize("act", [*LISTENING, *CONNECTING_FROM, writing_from])
def test_a_tentative_address_is_said_to_be_tentative(tentative: Namespace, act: Act) -> None:
    assert "tentative" in tentative.run("ip", "-6", "address", "show", "to", "fd00:5::2")
    assert "tentative" in told(tentative, act, "fd00:5::2")


@pytest.fixture(scope="module")
def without_ipv6() -> Iterator[Namespace]:
    with namespace() as made:
        switch_off_ipv6(made)
        yield made


@pytest.mark.parametrize(
    "act",
    [
        *(*LISTENING, *CONNECTING_FROM, *CONNECTING),
        *SENDING,
        writing_from,
    ],
)
def test_IPv6_that_is_switched_off_is_said_to_be(without_ipv6: Namespace, act: Act) -> None:
    assert "disable_ipv6" in told(without_ipv6, act, "::1")


@pytest.mark.parametrize("address", ["10.6.0.1", "fd00:6::1"])
@pytest.mark.parametrize("act", [*CONNECTING, *SENDING])
def test_a_route_that_prohibits_is_named(place: Namespace, act: Act, address: str) -> None:
    text = told(place, act, address)
    assert "broadcast" not in text
    assert re.search(r"prohibit|firewall|\broute", text)


@pytest.mark.parametrize("act", [writing])
def test_a_broadcast_that_is_not_allowed_is_named(place: Namespace, act: Act) -> None:
    assert "setBroadcastAllowed(True)" in told(place, act, "10.5.0.255")


@pytest.mark.parametrize("address", ["10.77.0.1", "fd00:77::1"])
@pytest.mark.parametrize("act", [*CONNECTING, *SENDING])
def test_no_route_is_named(place: Namespace, act: Act, address: str) -> None:
    assert "route" in told(place, act, address)


@pytest.mark.parametrize(
    ("source", "address"), [("10.5.0.1", "10.77.0.1"), ("fd00:5::1", "fd00:77::1")]
)
def test_no_route_is_not_blamed_on_a_source_that_is_sound(
    place: Namespace, source: str, address: str
) -> None:
    def write(reactor: Reactor, to: str) -> None:
        with_port(reactor, lambda port: port.write(b"x", (to, PORT), source=source))

    text = told(place, write, address)
    assert "is it an address of this machine" not in text
    assert "route" in text


LOW_PORT = """
import json, sys
from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol, Factory
from dsadapter.frameworks.twisted import (
    DualStackClientEndpoint, DualStackDatagramEndpoint, DualStackServerEndpoint,
)

def tell(outcome):
    print(json.dumps({"told": str(getattr(outcome, "value", outcome))}), flush=True)
    reactor.stop()

kind, host = sys.argv[1:]
if kind == "stream":
    done = DualStackServerEndpoint(reactor, 80, interface=host).listen(Factory())
elif kind == "datagram":
    done = DualStackDatagramEndpoint(reactor, 53, interface=host).listen(DatagramProtocol())
else:
    endpoint = DualStackClientEndpoint(reactor, host, 9, bindAddress=(host, 80))
    done = endpoint.connect(Factory())
done.addBoth(lambda outcome: reactor.callWhenRunning(tell, outcome))
reactor.run()
"""


@pytest.mark.parametrize(
    ("kind", "host"),
    [
        ("stream", "::"),
        ("stream", "localhost"),
        ("stream", "127.0.0.1"),
        ("stream", "::1"),
        ("datagram", "::"),
        ("datagram", "127.0.0.1"),
        ("connecting", "127.0.0.1"),
        ("connecting", "::1"),
    ],
)
def test_a_low_port_without_the_right_names_it(bare: Namespace, kind: str, host: str) -> None:
    unprivileged = (*bare.prefix, "setpriv", "--bounding-set=-net_bind_service")
    command = [*unprivileged, sys.executable, "-c", LOW_PORT, kind, host]
    with running_command(command) as asked:
        text = asked.event()["told"]
    assert "Permission denied" in text
    assert re.search(r"CAP_NET_BIND_SERVICE|ip_unprivileged_port_start", text)
