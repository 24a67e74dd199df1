"""The client endpoint on machines made with network namespaces and seccomp filters."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from support.listeners import RecordingFactory, stop
from support.machines import (
    ABSENCES,
    NO_DUAL_STACK,
    NO_IPV4,
    NO_IPV6,
    NO_IPV6_BY_A_SANDBOX,
    NO_OPTION,
    saying,
    switch_off_ipv6,
)
from support.namespaces import Namespace, connect_namespaces, namespace, needs_root
from support.processes import running_command
from support.reactors import Reactor
from support.seccomp import without
from twisted.internet import error
from twisted.internet.endpoints import TCP6ClientEndpoint, clientFromString

from dsadapter.frameworks.twisted import DualStackClientEndpoint, DualStackServerEndpoint

SERVER, CLIENT = "fe80::7", "fe80::8"


@contextlib.contextmanager
def listening(reactor: Reactor, place: Namespace, interface: str = "::") -> Iterator[Any]:
    with place.entered():
        endpoint = DualStackServerEndpoint(reactor, 0, interface=interface)
        port = reactor.result_of(endpoint.listen(RecordingFactory()))
    yield port
    for each in port.factory.made:
        each.transport.abortConnection()
    stop(reactor, port)


@pytest.fixture
def wired() -> Iterator[tuple[Namespace, Namespace]]:
    """A server and a client with a link-local address each, on ``wire``."""
    with namespace() as server, namespace() as client:
        connect_namespaces(server, client)
        for place, address in ((server, SERVER), (client, CLIENT)):
            place.add_addresses("wire", address)
        yield server, client


def by_string(reactor: Reactor, number: int) -> Any:
    return clientFromString(reactor, rf"dualstack:fe80\:\:7%wire:{number}")


def in_python(reactor: Reactor, number: int) -> Any:
    return DualStackClientEndpoint(reactor, "fe80::7%wire", number)


@needs_root
@pytest.mark.parametrize("make", [by_string, in_python])
@pytest.mark.parametrize("interface", ["::", "fe80::7%wire"])
def test_a_link_local_server_is_reached_and_keeps_its_zone(
    reactor: Reactor, wired: tuple[Namespace, Namespace], make: Any, interface: str
) -> None:
    server, client = wired
    with listening(reactor, server, interface) as port, client.entered():
        connecting = make(reactor, port.getHost().port).connect(RecordingFactory())
        transport = reactor.result_of(connecting).transport
        assert transport.getPeer().host == "fe80::7%wire"
        assert transport.getHost().host == "fe80::8%wire"
        scope = socket.if_nametoindex("wire")
        assert transport.getHandle().getpeername()[::3] == (SERVER, scope)
        reactor.until(lambda: port.factory.made)
        transport.abortConnection()


@needs_root
def test_a_zone_that_does_not_exist_is_named(
    reactor: Reactor, wired: tuple[Namespace, Namespace]
) -> None:
    with wired[1].entered():
        endpoint = DualStackClientEndpoint(reactor, "fe80::7%nowhere", 80)
        with pytest.raises(error.ConnectError, match=r"fe80::7%nowhere"):
            reactor.result_of(endpoint.connect(RecordingFactory()))


@needs_root
def test_C2_a_mapped_host_where_sockets_are_v6only_by_default(reactor: Reactor) -> None:
    with namespace() as place:
        place.run("sysctl", "-qw", "net.ipv6.bindv6only=1")
        with listening(reactor, place) as port, place.entered():
            number = port.getHost().port
            ours = DualStackClientEndpoint(reactor, "::ffff:127.0.0.1", number)
            transport = reactor.result_of(ours.connect(RecordingFactory())).transport
            assert transport.getPeer().host == "127.0.0.1"
            transport.abortConnection()
            twisteds = TCP6ClientEndpoint(reactor, "::ffff:127.0.0.1", number)
            with pytest.raises(error.ConnectError, match="unreachable"):
                reactor.result_of(twisteds.connect(RecordingFactory()))


ASK = """
import json, socket, sys
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from dsadapter.frameworks.twisted import DualStackClientEndpoint

def show(protocol):
    transport = protocol.transport
    peer, host = transport.getPeer(), transport.getHost()
    say(family=int(transport.getHandle().family), peer=peer.host, host=host.host)

def say(**what):
    print(json.dumps(what), flush=True)
    reactor.stop()

endpoint = DualStackClientEndpoint(reactor, sys.argv[1], int(sys.argv[2]))
connecting = endpoint.connect(Factory.forProtocol(Protocol))
connecting.addCallbacks(show, lambda failure: say(failed=str(failure.value)))
reactor.run()
"""


def asked(host: str, port: int, *prefix: str) -> dict[str, Any]:
    """What a client on a machine without something tells."""
    with running_command([*prefix, sys.executable, "-c", ASK, host, str(port)]) as client:
        return client.event()


@contextlib.contextmanager
def silent_server(host: str) -> Iterator[int]:
    """The kernel accepts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as made:
        yield made.getsockname()[1]


@pytest.mark.parametrize(
    ("host", "denial", "family"),
    [
        ("127.0.0.1", NO_IPV6, socket.AF_INET),
        ("::ffff:127.0.0.1", NO_IPV6, socket.AF_INET),
        ("localhost", NO_IPV6, socket.AF_INET),
        ("127.0.0.1", NO_IPV6_BY_A_SANDBOX, socket.AF_INET),
        ("127.0.0.1", NO_OPTION, socket.AF_INET),
        ("localhost", NO_OPTION, socket.AF_INET),
        ("127.0.0.1", NO_IPV4, socket.AF_INET6),
    ],
)
def test_IPv4_is_reached_where_sockets_are_denied(host: str, denial: str, family: int) -> None:
    with silent_server("127.0.0.1") as port:
        told = asked(host, port, *without(denial))
    assert told == {"family": family, "peer": "127.0.0.1", "host": "127.0.0.1"}


@pytest.mark.parametrize(
    ("host", "denial"),
    [
        *(
            (host, saying(error, NO_IPV6))
            for host, error in zip(
                ("127.0.0.1", "::ffff:127.0.0.1", "localhost"), ABSENCES, strict=True
            )
        ),
        *(("127.0.0.1", saying(error, NO_OPTION)) for error in ABSENCES),
        ("localhost", saying("EOPNOTSUPP", NO_OPTION)),
    ],
)
def test_IPv4_is_reached_whatever_the_absence_is_called(host: str, denial: str) -> None:
    with silent_server("127.0.0.1") as port:
        told = asked(host, port, *without(denial))
    assert told == {"family": socket.AF_INET, "peer": "127.0.0.1", "host": "127.0.0.1"}


@pytest.mark.parametrize("denial", [NO_OPTION, NO_IPV4])
def test_IPv6_is_reached_where_IPv4_or_the_option_is_denied(denial: str) -> None:
    with silent_server("::1") as port:
        told = asked("::1", port, *without(denial))
    assert told == {"family": socket.AF_INET6, "peer": "::1", "host": "::1"}


@needs_root
@pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)]
)
def test_each_family_is_reached_where_sockets_are_always_v6only(host: str, family: int) -> None:
    with silent_server(host) as port:
        told = asked(host, port, *without(NO_DUAL_STACK))
    assert told == {"family": family, "peer": host, "host": host}


def test_an_IPv6_address_without_IPv6_says_why() -> None:
    told = asked("::1", 80, *without(NO_IPV6))
    assert "::1" in told["failed"]
    assert "not supported" in told["failed"]


@needs_root
def test_IPv6_switched_off_by_sysctl_leaves_IPv4() -> None:
    with namespace() as place:
        switch_off_ipv6(place)
        with place.entered():
            server = socket.create_server(("127.0.0.1", 0))
        with server:
            told = asked("localhost", server.getsockname()[1], *place.prefix)
    assert told == {"family": socket.AF_INET6, "peer": "127.0.0.1", "host": "127.0.0.1"}
