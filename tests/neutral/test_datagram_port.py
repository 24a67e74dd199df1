"""The datagram port without any framework: a test waits for the socket itself."""

from __future__ import annotations

import dataclasses
import errno
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from support.peers import peer
from support.ports import LIMIT, Port
from support.windows import LOOPBACK_NAME, lacking_in_wine

from dsadapter.datagrams import DatagramPort, DestinationError, PacketTooLongError
from dsadapter.listener import Listener
from dsadapter.messages import spelled
from dsadapter.packetinfo import PacketInfo
from dsadapter.policy import DatagramPolicy

HOSTS = ("127.0.0.1", "::1")


@pytest.fixture
def opened() -> Iterator[Port]:
    made = Port()
    yield made
    made.port.close()


@pytest.mark.parametrize(
    "host", [pytest.param("127.0.0.5", marks=lacking_in_wine("gives no hop limit of IPv4")), "::1"]
)
def test_both_families_come_with_packet_information(opened: Port, host: str) -> None:
    with peer("::1" if ":" in host else "127.0.0.1") as client:
        client.sendto(b"x", (host, opened.number))
        opened.until(1)
        [(data, address, info)] = opened.got
        assert (data, address) == (b"x", client.getsockname()[:2])
        lo = socket.if_nametoindex(LOOPBACK_NAME)
        assert info == PacketInfo(
            destination=host,
            interface_index=lo,
            interface_name=LOOPBACK_NAME,
            hop_limit=64,
            traffic_class=0,
        )
        opened.port.send(b"y", address)
        assert client.recvfrom(10)[1][:2] == (host, opened.number)


def test_packet_information_can_not_be_changed_nor_unpacked(opened: Port) -> None:
    with peer("::1") as client:
        client.sendto(b"x", ("::1", opened.number))
        opened.until(1)
    info: Any = opened.got[0][2]
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.destination = "::2"
    with pytest.raises(TypeError):
        _, _ = info
    assert not hasattr(info, "__dict__")
    positional: Any = PacketInfo
    with pytest.raises(TypeError):
        positional("::1", 1, "lo", 64, 0)


def test_counters_are_one_object_that_outlives_the_socket(opened: Port) -> None:
    counters = opened.port.counters
    for count in (1, 2):
        with peer("127.0.0.1") as client:
            client.sendto(b"x", ("127.0.0.1", opened.number))
            opened.until(count)
        opened.port.close()
        opened.open()
    assert opened.port.counters is counters
    assert dataclasses.asdict(counters) == {
        "received": 2,
        "translated": 2,
        "forged": 0,
        "truncated": 0,
        "without_packet_info": 0,
        "unanswerable": 0,
    }


def test_what_is_dropped_is_counted_and_told_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    opened = Port(max_packet_size=10)
    with peer("127.0.0.1") as client:
        for size in (11, 12, 13, 10):
            client.sendto(bytes(size), ("127.0.0.1", opened.number))
        opened.until(1)
    assert opened.port.counters.truncated == 3
    [line] = caplog.messages
    assert (
        f"UDP port {opened.number} dropped a datagram of more than the max_packet_size of" in line
    )
    opened.port.close()


@pytest.mark.parametrize("host", HOSTS)
def test_looking_for_errors_takes_no_datagram(opened: Port, host: str) -> None:
    with peer(host) as client:
        client.sendto(b"x", (host, opened.number))
        assert select.select([opened.port.sock], [], [], 20)[0]
        opened.port.discard_errors()
        opened.until(1)
    assert [data for data, _, _ in opened.got] == [b"x"]


def test_what_an_interrupted_turn_has_received_comes_first(opened: Port) -> None:
    taken: list[bytes] = []

    def take_one(arrived: Iterator[Any]) -> None:
        for data, _, _ in arrived:
            taken.append(data)
            raise RuntimeError("a bug of the application")

    policy = DatagramPolicy("::", 0)
    port = DatagramPort(policy, Listener("none", policy))
    port.open(take_one, opened.refuse)
    with peer("::1") as client:
        for number in range(3):
            client.sendto(b"%d" % number, ("::1", port.local_address()[1]))
        for _ in range(3):
            assert select.select([port.sock], [], [], 0)[0] or taken
            with pytest.raises(RuntimeError):
                port.read(LIMIT)
    assert taken == [b"0", b"1", b"2"]
    port.close()


@pytest.mark.parametrize("burst", [1, 2, 20])
@pytest.mark.parametrize("warm", [False, True], ids=["first", "later"])
def test_a_port_that_its_application_closes_delivers_no_more(burst: int, warm: bool) -> None:
    taken: list[bytes] = []
    policy = DatagramPolicy("::", 0)
    port = DatagramPort(policy, Listener("none", policy))

    def take(arrived: Iterator[Any]) -> None:
        for data, _, _ in arrived:
            taken.append(data)
            if data == b"0":
                port.close()

    port.open(take, lambda: None)
    number = port.local_address()[1]
    with peer("127.0.0.1") as client:
        if warm:
            client.sendto(b"before", ("127.0.0.1", number))
            port.read(LIMIT)
            taken.clear()
        for each in range(burst):
            client.sendto(b"%d" % each, ("127.0.0.1", number))
        port.read(LIMIT)
        assert taken == [b"0"]
        # Open again, it has none of what came before.
        port.open(take, lambda: None)
        client.sendto(b"after", ("127.0.0.1", port.local_address()[1]))
        port.read(LIMIT)
    assert taken == [b"0", b"after"]
    port.close()


@pytest.mark.parametrize("host", HOSTS)
def test_a_connected_port_talks_to_one_peer(opened: Port, host: str) -> None:
    with peer(host) as server, peer(host) as stranger:
        address = server.getsockname()[:2]
        opened.port.connect(*address)
        assert opened.port.local_address()[0] == host
        opened.port.send(b"a")
        opened.port.send(b"b", address)
        assert [server.recv(10), server.recv(10)] == [b"a", b"b"]
        with pytest.raises(DestinationError, match="is connected to") as caught:
            opened.port.send(b"c", stranger.getsockname()[:2])
        assert caught.value.host == host
        with pytest.raises(DestinationError, match="open another one"):
            opened.port.connect(*address)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.not_on_windows("refusals are switched off there (SIO_UDP_CONNRESET)")
def test_a_refusal_is_told_to_a_connected_port_alone(opened: Port, host: str) -> None:
    with peer(host) as gone:
        address = gone.getsockname()[:2]
    opened.port.send(b"x", address)
    opened.port.read(LIMIT)
    assert opened.refused == 0
    opened.port.connect(*address)
    opened.port.send(b"x")
    assert select.select([opened.port.sock], [], [], 20)[0]
    opened.port.read(LIMIT)
    assert opened.refused == 1


@pytest.mark.parametrize(
    ("host", "source", "interface", "says"),
    [
        ("localhost", None, None, "'localhost' is not an address literal"),
        ("127.0.0.1", "::1", None, "source '::1' is IPv6"),
        ("::1", None, "nothere", "no interface 'nothere'"),
        ("::1", None, b"lo", "no interface b'lo'"),
        ("::1", None, 1.0, "no interface 1.0"),
        ("::1", None, True, "no interface True"),
        (b"127.0.0.1", None, None, "is not text"),
    ],
)
def test_what_can_not_be_sent_is_one_clear_error(
    opened: Port, host: Any, source: str | None, interface: Any, says: str
) -> None:
    with pytest.raises(DestinationError) as caught:
        opened.port.send(b"x", (host, 9), source, interface)
    assert says in str(caught.value)
    assert caught.value.host == host


@pytest.mark.parametrize("port", [-1, 65536, 2**70, "9", None, True, 1.5])
def test_what_is_no_port_is_one_clear_error(opened: Port, port: Any) -> None:
    for act in (
        lambda: opened.port.send(b"x", ("::1", port)),
        lambda: opened.port.connect("127.0.0.1", port),
    ):
        with pytest.raises(DestinationError) as caught:
            act()
        assert str(caught.value).startswith("port ")
        assert "a whole number from 0 to 65535" in str(caught.value)


@pytest.mark.parametrize("address", [("::1",), ("::1", 9, 0, 0), 9, "127.0.0.1"])
def test_what_is_no_pair_is_one_clear_error(opened: Port, address: Any) -> None:
    with pytest.raises(DestinationError, match=r"is not an address; give \(host, port\)"):
        opened.port.send(b"x", address)


@pytest.mark.parametrize(("host", "other"), [("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
def test_one_family_is_not_widened(host: str, other: str) -> None:
    opened = Port(host)
    with pytest.raises(DestinationError, match="bind one to '::' for both"):
        opened.port.send(b"x", (other, 9))
    with pytest.raises(DestinationError, match="bind one to '::' for both"):
        opened.port.connect(other, 9)
    opened.port.close()


def test_a_port_that_is_not_connected_needs_an_address(opened: Port) -> None:
    with pytest.raises(DestinationError, match="needs an address"):
        opened.port.send(b"x")


def test_too_long_a_datagram_and_a_broadcast_have_errors_of_their_own(opened: Port) -> None:
    with pytest.raises(PacketTooLongError) as caught:
        opened.port.send(bytes(70_000), ("127.0.0.1", 9))
    assert caught.value.errno == errno.EMSGSIZE
    with pytest.raises(PermissionError, match=r"call allow_broadcast\(True\) first") as denied:
        opened.port.send(b"x", ("255.255.255.255", 9))
    shown = str(spelled(denied.value, {"allow_broadcast": "setBroadcastAllowed"}))
    assert "call setBroadcastAllowed(True) first" in shown
    opened.port.allow_broadcast(True)
    assert opened.port.broadcast_allowed()


def test_no_framework_is_imported() -> None:
    program = (
        "import sys, dsadapter.datagrams; "
        "print([name for name in ('asyncio', 'trio', 'twisted') "
        "if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr
