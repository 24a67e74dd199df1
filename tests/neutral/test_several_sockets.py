"""Datagram ports of several addresses: a socket each, one port number, one port."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from support.descriptors import open_descriptors
from support.namespaces import connect_namespaces, namespace, needs_root
from support.peers import peer
from support.ports import LIMIT, Port
from support.windows import own_udp_address

from dsadapter import hookimpl
from dsadapter.datagrams import DatagramPort, DestinationError
from dsadapter.listener import Listener
from dsadapter.policy import DatagramPolicy
from dsadapter.sockets.adopting import inherited_datagrams
from dsadapter.testing import RecordingPlugin, registered

ADDRESSES = ("127.0.0.7", "::1", "127.0.0.9")


class SeveralPort(Port):
    """Waits for all of its sockets."""

    def open(self) -> None:
        self.port.open(self.got.extend, self.refuse, details=True, several=True)

    def until(self, count: int) -> None:
        served = {each.sock: each for each in self.port.served}
        while len(self.got) < count:
            ready = select.select([*served], [], [], 20)[0]
            assert ready, "nothing comes"
            for sock in ready:
                self.port.read(LIMIT, served[sock])


@pytest.fixture
def opened() -> Iterator[SeveralPort]:
    made = SeveralPort(",".join(ADDRESSES))
    yield made
    made.port.close()


@own_udp_address
def test_each_is_answered_by_the_socket_that_was_asked(opened: SeveralPort) -> None:
    clients = []
    with ExitStack() as stack:
        for count, host in enumerate(ADDRESSES, start=1):
            client = stack.enter_context(peer("::1" if ":" in host else "127.0.0.1"))
            clients.append(client)
            # A connected socket hears the address alone that it has asked.
            client.connect((host, opened.number))
            client.send(host.encode())
            opened.until(count)
        for data, address, info in opened.got:
            assert info.destination == data.decode()
            opened.port.send(b"answer to " + data, address)
        for client, host in zip(clients, ADDRESSES, strict=True):
            assert client.recv(100) == b"answer to " + host.encode()
    assert opened.port.counters.received == 3
    assert opened.port.counters.translated == 0
    assert opened.port.life.mode == "pair"
    assert [address[:2] for address in opened.port.life.addresses()] == [
        (host, opened.number) for host in ADDRESSES
    ]


@own_udp_address
def test_addresses_survive_opening_again(opened: SeveralPort) -> None:
    with peer("127.0.0.1") as client:
        client.sendto(b"x", ("127.0.0.9", opened.number))
        opened.until(1)
        opened.port.close()
        opened.open()
        opened.port.send(b"late", opened.got[0][1])
        assert client.recvfrom(10) == (b"late", ("127.0.0.9", opened.number))


@pytest.mark.parametrize(
    ("host", "source", "sends"),
    [
        ("127.0.0.1", None, "127.0.0.7"),
        ("127.0.0.1", "127.0.0.9", "127.0.0.9"),
        ("127.0.0.1", "::ffff:127.0.0.9", "127.0.0.9"),
        ("::1", None, "::1"),
        ("::1", "::1", "::1"),
        ("::ffff:127.0.0.1", None, "127.0.0.7"),
    ],
)
@own_udp_address
def test_what_answers_nothing_leaves_by_a_socket_that_fits(
    opened: SeveralPort, host: str, source: str | None, sends: str
) -> None:
    family = "127.0.0.1" if "." in host else host
    with peer(family) as client:
        opened.port.send(b"x", (host, client.getsockname()[1]), source)
        assert client.recvfrom(10)[1][:2] == (sends, opened.number)


@needs_root
def test_what_answers_nothing_leaves_from_where_routing_says() -> None:
    """The first socket of the family could not reach it."""
    with namespace() as near, namespace() as far:
        connect_namespaces(near, far)
        near.add_addresses("wire", "192.0.2.1", "2001:db8::1")
        far.add_addresses("wire", "192.0.2.2", "2001:db8::2")
        with near.entered():
            made = SeveralPort("127.0.0.1,::1,192.0.2.1,2001:db8::1")
        for host, sends in (("192.0.2.2", "192.0.2.1"), ("2001:db8::2", "2001:db8::1")):
            with far.entered():
                receiver = socket.socket(
                    socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
                )
                receiver.bind((host, 9999))
                receiver.settimeout(20)
            with receiver, near.entered():
                made.port.send(b"x", (host, 9999))
                assert receiver.recvfrom(10)[1][:2] == (sends, made.number)
        made.port.close()


@pytest.mark.parametrize(
    ("hosts", "address", "source", "said"),
    [
        pytest.param(
            "127.0.0.7,127.0.0.9",
            ("::1", 9),
            None,
            "'::1' is IPv6, but this port serves IPv4",
            marks=own_udp_address,
        ),
        ("127.0.0.7,::1", ("127.0.0.1", 9), "::1", "source '::1' is IPv6, but the destination"),
        ("127.0.0.7,::1", ("nowhere", 9), None, "'nowhere' is not an address literal"),
        ("127.0.0.7,::1", None, None, "needs an address to send to"),
        ("127.0.0.7,::1", (), None, r"give \(host, port\)"),
        ("127.0.0.7,::1", 9, None, r"give \(host, port\)"),
    ],
)
def test_what_can_not_be_sent_is_one_clear_error(
    hosts: str, address: Any, source: str | None, said: str
) -> None:
    made = SeveralPort(hosts)
    with pytest.raises(DestinationError, match=said):
        made.port.send(b"x", address, source)
    made.port.close()


@own_udp_address
def test_a_port_of_several_addresses_has_no_one_peer(opened: SeveralPort) -> None:
    with pytest.raises(DestinationError, match=r"port of several addresses .* has no one peer"):
        opened.port.connect("127.0.0.1", 9)
    assert opened.port.peer is None


@own_udp_address
def test_broadcast_is_allowed_to_all(opened: SeveralPort) -> None:
    assert not opened.port.broadcast_allowed()
    opened.port.allow_broadcast(True)
    for each in opened.port.served:
        assert each.sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)


def test_localhost_is_one_such_list() -> None:
    before = open_descriptors()
    with registered(RecordingPlugin()) as recording:
        made = SeveralPort("localhost")
        made.port.life.opened()
        assert [a[0] for a in made.port.life.addresses()] == ["127.0.0.1", "::1"]
        made.port.close()
    assert [event.hook for event in recording.events] == [
        "before_bind",
        "before_bind",
        "listener_opened",
        "listener_closed",
    ]
    assert open_descriptors() <= before


def test_who_waits_for_one_socket_is_given_no_more() -> None:
    """Its application would never hear of what comes to the others."""
    policy = DatagramPolicy("127.0.0.1,::1", 0)
    port = DatagramPort(policy, Listener("none", policy))
    before = open_descriptors()
    with pytest.raises(ValueError, match="several addresses, and this is one socket"):
        port.open(list, lambda: None)
    assert open_descriptors() <= before


@own_udp_address
def test_an_address_that_is_held_leaves_nothing_open() -> None:
    with peer("127.0.0.9") as holder:
        number = holder.getsockname()[1]
        policy = DatagramPolicy(",".join(ADDRESSES), number)
        port = DatagramPort(policy, Listener("none", policy))
        before = open_descriptors()
        with pytest.raises(OSError, match=f"127.0.0.9:{number} is held"):
            port.open(list, lambda: None, several=True)
        assert open_descriptors() <= before


@own_udp_address
def test_port_0_is_tried_until_all_have_it() -> None:
    """Whoever holds what the first socket got makes for another try, and for no error."""

    class Holding(RecordingPlugin):
        holders: list[socket.socket]

        @hookimpl
        def dsadapter_before_bind(self, sock: socket.socket, policy: Any) -> None:
            super().dsadapter_before_bind(sock, policy)
            if policy.host == "127.0.0.9" and not self.holders:
                holder = kept.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                holder.bind((policy.host, policy.port))
                self.holders.append(holder)

    plugin = Holding()
    plugin.holders = []
    with ExitStack() as kept, registered(plugin):
        made = SeveralPort(",".join(ADDRESSES))
        kept.callback(made.port.close)
        [holder] = plugin.holders
        assert made.number != holder.getsockname()[1]
        assert {each.sock.getsockname()[1] for each in made.port.served} == {made.number}


@pytest.mark.not_on_windows("a program of Windows is given no sockets by number")
def test_two_inherited_sockets_of_one_port_are_a_pair() -> None:
    ipv4 = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ipv4.bind(("0.0.0.0", 0))
    ipv6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    ipv6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    ipv6.bind(("::", ipv4.getsockname()[1]))
    policy = inherited_datagrams(fd=[ipv6.detach(), ipv4.detach()])
    port = DatagramPort(policy, Listener("none", policy))
    got: list[Any] = []
    port.open(got.extend, lambda: None, several=True)
    assert port.life.mode == "pair"
    assert [each.mode for each in port.served] == ["ipv4", "ipv6"]
    for served, host in zip(port.served, ("127.0.0.1", "::1"), strict=True):
        with peer(host) as client:
            client.connect((host, policy.port))
            client.send(b"x")
            assert select.select([served.sock], [], [], 20)[0]
            port.read(LIMIT, served)
            port.send(b"y", got[-1][1])
            assert client.recv(10) == b"y"
    port.close()


@pytest.mark.not_on_windows("a program of Windows is given no sockets by number")
def test_two_inherited_sockets_are_too_many_for_one() -> None:
    numbers: list[tuple[socket.socket, int]] = []
    for host in ("127.0.0.7", "127.0.0.9"):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((host, numbers[0][1] if numbers else 0))
        numbers.append((sock, sock.getsockname()[1]))
    policy = inherited_datagrams(fd=[sock.fileno() for sock, _ in numbers])
    port = DatagramPort(policy, Listener("none", policy))
    with pytest.raises(ValueError, match="2 inherited sockets are more than one"):
        port.open(list, lambda: None)
    for sock, _ in numbers:
        sock.close()


@pytest.mark.not_on_windows("a program of Windows is given no sockets by number")
def test_one_socket_is_inherited_once() -> None:
    """Two ports would take each other's datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, sock.dup() as same:
        sock.bind(("127.0.0.7", 0))
        with pytest.raises(OSError, match="are one socket; pass it once"):
            inherited_datagrams(fd=[sock.fileno(), same.fileno()])


@pytest.mark.parametrize("taken", [0, 1, 2])
@own_udp_address
def test_closing_closes_all_whatever_somebody_else_has_closed(taken: int) -> None:
    before = open_descriptors()
    made = SeveralPort(",".join(ADDRESSES))
    made.port.life.opened()
    os.close(made.port.served[taken].sock.fileno())
    with pytest.raises(OSError, match="Bad file descriptor"):
        made.port.close()
    assert open_descriptors() <= before
