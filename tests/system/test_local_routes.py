"""Answers from addresses that are this machine's by a local route only (AnyIP)."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest
from support.datagrams import WAYS, Echo, Informed, listening, peer
from support.listeners import RecordingFactory, stop
from support.namespaces import Namespace, namespace, needs_root
from support.reactors import Reactor

from dsadapter.frameworks.twisted import DualStackServerEndpoint

pytestmark = needs_root

ROUTED = {"192.0.2.7": "192.0.2.0/24", "2001:db8:5::7": "2001:db8:5::/64"}
IPV6_FREEBIND = 78
HOSTS = pytest.mark.parametrize("host", ROUTED)


@pytest.fixture
def place() -> Iterator[Namespace]:
    with namespace() as made:
        for prefix in ROUTED.values():
            version = "-6" if ":" in prefix else "-4"
            made.run("ip", version, "route", "add", "local", prefix, "dev", "lo")
        yield made


@contextlib.contextmanager
def client_of(place: Namespace, host: str) -> Iterator[socket.socket]:
    with place.entered(), peer("::1" if ":" in host else "127.0.0.1") as client:
        yield client


@HOSTS
@pytest.mark.parametrize("way", WAYS)
def test_an_answer_leaves_from_the_address_that_was_asked(
    reactor: Reactor, place: Namespace, host: str, way: str
) -> None:
    echo = Echo()
    with listening(place, reactor, echo, way=way) as port, client_of(place, host) as client:
        number = port.getHost().port
        client.sendto(b"x", (host, number))
        client.setblocking(False)
        # What is not answered is logged: the test would wait for it in vain.
        reactor.until(lambda: echo.got)
        assert client.recvfrom(10)[1][:2] == (host, number)


@HOSTS
def test_an_answer_may_come_later_with_packet_information(
    reactor: Reactor, place: Namespace, host: str
) -> None:
    informed = Informed()
    with listening(place, reactor, informed) as port, client_of(place, host) as client:
        client.sendto(b"x", (host, port.getHost().port))
        reactor.until(lambda: informed.infos)
        assert informed.infos[0].destination == host
        port.write(b"later", informed.got[0][1])
        assert client.recvfrom(10)[1][0] == host


def test_only_the_answer_leaves_from_what_no_interface_has(
    reactor: Reactor, place: Namespace
) -> None:
    informed = Informed()
    with listening(place, reactor, informed) as port, client_of(place, "::1") as client:
        client.sendto(b"x", ("2001:db8:5::7", port.getHost().port))
        reactor.until(lambda: informed.got)
        [(_, addr)] = informed.got
        port.write(b"answer", addr)
        assert client.recv(10) == b"answer"
        assert port.socket.getsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND) == 0
        for source in ("2001:db8:5::7", "2001:db8:dead::1"):
            with pytest.raises(OSError, match="no address of this machine"):
                port.write(b"chosen", tuple(addr), source=source)


def test_an_answer_from_an_address_that_is_gone_is_an_error(
    reactor: Reactor, place: Namespace
) -> None:
    informed = Informed()
    with listening(place, reactor, informed) as port, client_of(place, "::1") as client:
        client.sendto(b"x", ("2001:db8:5::7", port.getHost().port))
        reactor.until(lambda: informed.got)
        place.run("ip", "-6", "route", "del", "local", ROUTED["2001:db8:5::7"], "dev", "lo")
        with pytest.raises(OSError, match="may be gone from this machine"):
            port.write(b"answer", informed.got[0][1])


@pytest.mark.parametrize("source", ["2001:db8:5::7", "2001:db8:dead::1"])
def test_a_chosen_source_that_no_interface_has_is_refused(
    reactor: Reactor, place: Namespace, source: str
) -> None:
    with listening(place, reactor, Echo()) as port, client_of(place, "::1") as client:
        with pytest.raises(OSError, match="no address of this machine"):
            port.write(b"chosen", client.getsockname()[:2], source=source)


@pytest.mark.parametrize("host", ROUTED)
def test_a_stream_is_answered_from_there(reactor: Reactor, place: Namespace, host: str) -> None:
    factory = RecordingFactory()
    with place.entered():
        port = reactor.result_of(DualStackServerEndpoint(reactor, 0).listen(factory))
        with socket.create_connection((host, port.getHost().port)):
            reactor.until(lambda: factory.made)
            assert factory.made[0].transport.getHost().host == host
            factory.made[0].transport.abortConnection()
        stop(reactor, port)
