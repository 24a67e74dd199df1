"""Rows about datagrams."""

from __future__ import annotations

import socket
from typing import Any, NamedTuple

import pytest

from dsadapter.testing.conformance.client_rows import SOURCE
from dsadapter.testing.conformance.judging import (
    BOTH,
    IPV4,
    IPV6,
    MAPPED,
    Name,
    name_of,
    require_address,
    require_own_kind,
    require_text,
)
from dsadapter.testing.driver_process import (
    PATIENCE,
    DriverError,
    DriverProcess,
    Places,
    Running,
)

GROUP, IPV6_GROUP = "239.255.77.77", "ff02::4d4d"
LOOPBACK = socket.if_indextoname(1)


class Sent(NamedTuple):
    """A plain client's name, what the driver showed, and where its answer came from."""

    client: Name
    places: Places
    answer: Name


def plain_socket(host: str) -> socket.socket:
    """Of one family, bound."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(PATIENCE)
    made.bind((host, 0))
    return made


def bind(process: DriverProcess, host: str = "::", **options: Any) -> tuple[Running, Any, int]:
    """Have the driver exchange datagrams; the command, the address that it shows, and its port."""
    binding = process.start("bind", host=host, port=0, **options)
    address = binding.returned()
    return binding, address, address["address"][1]


def ask(binding: Running, host: str, port: int) -> Sent:
    """Send a datagram to an address of the driver's, and take what it reports and answers."""
    count = len(binding.reports)
    with plain_socket(IPV6 if ":" in host else IPV4) as client:
        client.sendto(b"question", (host, port))
        data, sender = client.recvfrom(100)
        assert data == b"question", f"the answer is {data!r}"
        name = name_of(client.getsockname())
    return Sent(name, binding.report(since=count), name_of(sender))


class DatagramRows:
    """Where datagrams show addresses, and what they take for one."""

    def test_datagram_source(self, process: DriverProcess) -> None:
        """The sender of a datagram."""
        binding, _, port = bind(process)
        made = {host: ask(binding, host, port) for host in BOTH}
        for sent in made.values():
            require_address("source", sent.places.get("source"), sent.client)
        require_own_kind("source", {host: sent.places["source"] for host, sent in made.items()})

    def test_datagram_destination(self, process: DriverProcess) -> None:
        """Packet information: where a datagram arrived."""
        binding, _, port = bind(process)
        for host in (*BOTH, SOURCE):
            places = ask(binding, host, port).places
            require_text("destination", places.get("destination"), host)
            require_text("interface", places.get("interface"), LOOPBACK)

    def test_datagram_answer(self, process: DriverProcess) -> None:
        """An answer leaves from the address that was asked."""
        binding, _, port = bind(process)
        for host in (SOURCE, *BOTH):
            sent = ask(binding, host, port)
            assert sent.answer == (host, port), f"{host} is asked, {sent.answer[0]} answers"
            require_address("source", sent.places.get("source"), sent.client)

    def test_datagram_local_address(self, process: DriverProcess) -> None:
        """A mapped address to bind to is the IPv4 one, and shown as that."""
        for host in (*MAPPED, IPV4):
            binding, address, port = bind(process, host)
            require_address("the local address", address, (IPV4, port))
            sent = ask(binding, IPV4, port)
            require_address("source", sent.places.get("source"), sent.client)

    def test_datagram_destinations(self, process: DriverProcess) -> None:
        """What a datagram is sent to: addresses of both families, and a mapped one from wherever
        the application has it."""
        _, _, port = bind(process)
        for target in (IPV4, IPV6, *MAPPED):
            host = IPV6 if target == IPV6 else IPV4
            with plain_socket(host) as receiver:
                to = [target, receiver.getsockname()[1]]
                process.call("send", data="hello", address=to)
                data, sender = receiver.recvfrom(100)
            assert (data, name_of(sender)) == (b"hello", (host, port))

    def test_datagram_chosen_source(self, process: DriverProcess) -> None:
        """A local address to send from."""
        _, _, port = bind(process)
        for source, host in ((SOURCE, IPV4), (f"::ffff:{SOURCE}", IPV4), (IPV6, IPV6)):
            with plain_socket(host) as receiver:
                to = [host, receiver.getsockname()[1]]
                process.call("send", data="hello", address=to, source=source)
                _, sender = receiver.recvfrom(100)
            assert name_of(sender) == (IPV6 if host == IPV6 else SOURCE, port)

    def test_datagram_connect(self, process: DriverProcess) -> None:
        """One peer to exchange datagrams with, of either family, or a mapped one from wherever the
        application has it."""
        for target in (IPV4, IPV6, *MAPPED):
            host = IPV6 if target == IPV6 else IPV4
            with plain_socket(host) as peer:
                name = name_of(peer.getsockname())
                binding, _, _ = bind(process, peer=[target, name[1]])
                connected = binding.report(lambda places: "peer" in places)
                require_address("peer", connected["peer"], name)
                process.call("send", data="hello", address=None)
                data, sender = peer.recvfrom(100)
                assert (data, sender[0]) == (b"hello", host)
                peer.sendto(b"answer", sender)
                places = binding.report(lambda places: "source" in places)
                require_address("source", places["source"], name)

    def test_datagram_error(self, process: DriverProcess) -> None:
        """The text of an error about an address that can't be sent to."""
        bind(process, IPV6)
        for target in (IPV4, *MAPPED):
            with pytest.raises(DriverError) as raised:
                process.call("send", data="hello", address=[target, 9])
            require_text("the error", {"texts": raised.value.texts}, IPV4)

    def test_multicast(self, process: DriverProcess) -> None:
        """Groups of both families, and a mapped one."""
        binding, _, port = bind(process)
        for group in (GROUP, f"::ffff:{GROUP}"):
            process.call("join", group=group, interface=LOOPBACK)
            with plain_socket(IPV4) as sender:
                loopback = socket.inet_aton(IPV4)
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, loopback)
                sender.sendto(b"to all", (GROUP, port))
                places = next_report(process, binding)
                require_address("source", places.get("source"), name_of(sender.getsockname()))
                require_text("destination", places.get("destination"), GROUP)
            process.close()
            binding, _, port = bind(process)
        if not process.allowed:
            return
        # On most machines nothing leads to an IPv6 group of the loopback.
        with process.isolated() as alone:
            binding, _, port = bind(alone)
            alone.call("join", group=IPV6_GROUP, interface=LOOPBACK)
            alone.call("inject", source=IPV6, destination=IPV6_GROUP, port=port)
            places = next_report(alone, binding)
            require_address("source", places.get("source"), (IPV6, 4711))
            require_text("destination", places.get("destination"), IPV6_GROUP)

    def test_forged_source(self, process: DriverProcess) -> None:
        """An IPv6 datagram whose source is a mapped address on the wire is not from that IPv4
        address, and never shown; what comes after it is."""
        if not process.allowed:
            pytest.skip("needs a network namespace to write to a wire: Linux has them, for some")
        with process.isolated() as alone:
            binding, _, port = bind(alone)
            for source in (MAPPED[0], "::ffff:192.0.2.1"):
                alone.call("inject", source=source, destination=IPV6, port=port)
            real = alone.call("probe", host=IPV4, port=port)
            require_address("source", next_report(alone, binding).get("source"), (IPV4, real))
            alone.close()
            assert len(binding.reports) == 1, f"a forged datagram is shown: {binding.reports}"


def next_report(process: DriverProcess, binding: Running) -> Places:
    """The first report of what is bound, when it has come."""
    process.wait_until(lambda: bool(binding.reports), "no datagram arrives")
    return binding.reports[0]
