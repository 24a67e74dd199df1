"""What ``docs/limits.md`` says: where the kernel's view of a dual-stack socket shows, and where it
doesn't."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from support.datagrams import Recorder as DatagramRecorder
from support.datagrams import listen as listen_datagrams
from support.frames import udp_over_ipv6, write_frame
from support.listeners import RecordingFactory, stop
from support.namespaces import Namespace, connect_namespaces, namespace, needs_root
from support.processes import Server, running_command
from support.reactors import Reactor

from dsadapter.frameworks.twisted import DualStackServerEndpoint

pytestmark = needs_root

PORT = 8080
HOST = {4: "192.0.2.1", 6: "2001:db8::1"}
CLIENT = {4: "192.0.2.2", 6: "2001:db8::2"}
FAMILIES = [4, 6]


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


class Machine:
    """A host that serves ``dualstack:8080``, and a client on a wire."""

    def __init__(self, host: Namespace, client: Namespace, reactor: Reactor) -> None:
        self.host = host
        self.client = client
        self.reactor = reactor
        self.factory = RecordingFactory()
        with host.entered():
            endpoint = DualStackServerEndpoint(reactor, PORT)
            self.port = reactor.result_of(endpoint.listen(self.factory))

    @contextlib.contextmanager
    def connected(self, family: int) -> Iterator[tuple[socket.socket, Any]]:
        """A client's socket, and the server's transport."""
        with self.client.entered():
            client = socket.create_connection((HOST[family], PORT), timeout=20)
        before = len(self.factory.made)
        with client:
            self.reactor.until(lambda: len(self.factory.made) > before)
            transport = self.factory.made[-1].transport
            assert transport.getPeer().host == CLIENT[family]
            yield client, transport
            transport.abortConnection()


@pytest.fixture
def machine() -> Iterator[Machine]:
    reactor = Reactor()
    with namespace() as host, namespace() as client:
        connect_namespaces(host, client)
        for place, addresses in ((host, HOST), (client, CLIENT)):
            place.add_addresses("wire", *addresses.values())
        machine = Machine(host, client, reactor)
        yield machine
        if machine.port.connected:
            stop(reactor, machine.port)
    reactor.close()


def lines(text: str, part: str) -> list[str]:
    return [line for line in text.splitlines() if part in line]


class TestListings:
    """Tools that list sockets go by the socket's family."""

    def test_ss_shows_mapped_addresses(self, machine: Machine) -> None:
        with machine.connected(4):
            for option in ("-tn", "-tn6"):
                local, remote = machine.host.run("ss", "-H", option).split()[3:5]
                assert local == "[::ffff:192.0.2.1]:8080"
                assert remote.startswith("[::ffff:192.0.2.2]:")

    def test_ss_4_shows_neither_the_listener_nor_its_IPv4_clients(self, machine: Machine) -> None:
        with machine.connected(4):
            assert "*:8080" in machine.host.run("ss", "-H", "-ltn")
            assert machine.host.run("ss", "-H", "-ltn4") == ""
            assert machine.host.run("ss", "-H", "-tn4") == ""

    @pytest.mark.parametrize("address", ["192.0.2.2", "192.0.2.0/24", "[::ffff:192.0.2.2]"])
    def test_ss_finds_a_client_by_its_IPv4_address(self, machine: Machine, address: str) -> None:
        with machine.connected(4), machine.connected(6):
            [line] = machine.host.run("ss", "-H", "-tn", "dst", address).splitlines()
            assert "[::ffff:192.0.2.2]" in line

    @needs("netstat")
    def test_netstat_says_tcp6_and_shows_IPv4(self, machine: Machine) -> None:
        with machine.connected(4):
            [line] = lines(machine.host.run("netstat", "-tn"), ":8080")
            assert line.startswith("tcp6 ")
            assert " 192.0.2.1:8080 " in line
            assert " 192.0.2.2:" in line
            assert lines(machine.host.run("netstat", "-tln4"), ":8080") == []

    @needs("lsof")
    def test_lsof_says_IPv6_and_shows_IPv4(self, machine: Machine) -> None:
        with machine.connected(4):
            for selection in ("-iTCP", "-i@192.0.2.2"):
                shown = machine.host.run("lsof", "-nP", selection)
                [line] = lines(shown, "192.0.2.1:8080->192.0.2.2:")
                assert " IPv6 " in line

    def test_the_connection_is_in_proc_net_tcp6_alone(self, machine: Machine) -> None:
        with machine.connected(4):
            [line] = lines(machine.host.run("cat", "/proc/net/tcp6"), "020200C0")
            assert "0000000000000000FFFF0000010200C0:1F90" in line
            assert "0000000000000000FFFF0000020200C0:" in line
            assert lines(machine.host.run("cat", "/proc/net/tcp"), ":1F90") == []


RULES = """
table ip only4 {
    chain input {
        type filter hook input priority 0
        tcp dport 8080 counter log group 1 comment "ip"
    }
}
table ip6 only6 {
    chain input {
        type filter hook input priority 0
        tcp dport 8080 counter comment "ip6"
        ip6 saddr ::ffff:0:0/96 counter comment "mapped"
    }
}
table inet both {
    chain input {
        type filter hook input priority 0
        ct state new tcp dport 8080 counter comment "new"
    }
}
"""


def load(place: Namespace, rules: str) -> None:
    subprocess.run([*place.prefix, "nft", "-f", "-"], input=rules, text=True, check=True)


def counted(place: Namespace) -> dict[str, int]:
    """Whether each rule has seen packets, by its comment."""
    listing = json.loads(place.run("nft", "-j", "list", "ruleset"))["nftables"]
    rules = [entry["rule"] for entry in listing if "rule" in entry]
    return {
        rule["comment"]: expression["counter"]["packets"]
        for rule in rules
        for expression in rule["expr"]
        if "counter" in expression
    }


@contextlib.contextmanager
def captured(place: Namespace, interface: str, *options: str) -> Iterator[Server]:
    """``tcpdump``, once it captures."""
    command = ["tcpdump", "--immediate-mode", "-lnvi", interface, *options]
    with running_command([*place.prefix, *command]) as tcpdump:
        tcpdump.wait_for_log("listening on")
        yield tcpdump


class TestPackets:
    """What works on packets has IPv4 packets of IPv4 clients."""

    @needs("nft")
    @needs("conntrack")
    def test_firewall_and_conntrack_see_IPv4(self, machine: Machine) -> None:
        load(machine.host, RULES)
        with machine.connected(4):
            seen = counted(machine.host)
            assert seen["ip"] >= 2
            assert seen["new"] == 1
            assert seen["ip6"] == seen["mapped"] == 0
            [line] = machine.host.run("conntrack", "-L", "-f", "ipv4").splitlines()
            assert "src=192.0.2.2 dst=192.0.2.1 " in line
            assert machine.host.run("conntrack", "-L", "-f", "ipv6") == ""

    @needs("nft")
    @needs("tcpdump")
    def test_what_a_firewall_logs_is_IPv4(self, machine: Machine) -> None:
        load(machine.host, RULES)
        with captured(machine.host, "nflog:1") as log, machine.connected(4):
            log.wait_for_log("192.0.2.2.", "> 192.0.2.1.8080:")
        assert "::ffff:" not in log.log()

    @needs("nft")
    @pytest.mark.parametrize(("table", "family"), [("ip", 4), ("ip6", 6)])
    def test_a_rule_of_one_family_stops_that_family_alone(
        self, machine: Machine, table: str, family: int
    ) -> None:
        load(
            machine.host,
            f"table {table} closed {{\n chain input {{\n type filter hook input priority 0\n"
            "tcp dport 8080 reject with tcp reset\n }\n}\n",
        )
        with machine.connected(10 - family):
            with pytest.raises(ConnectionRefusedError), machine.connected(family):
                pass

    @needs("tcpdump")
    @pytest.mark.parametrize("family", FAMILIES)
    def test_an_option_acts_on_the_packets_of_its_family(
        self, machine: Machine, family: int
    ) -> None:
        with machine.connected(family) as (_, transport):
            handle = transport.getHandle()
            handle.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x28)
            handle.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 44)
            handle.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0x48)
            handle.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 66)
            with captured(machine.client, "wire", f"src host {HOST[family]} and tcp") as wire:
                handle.send(b"x")
                if family == 4:
                    wire.wait_for_log("IP (tos 0x28, ttl 44,")
                else:
                    wire.wait_for_log("IP6 (class 0x48,", " hlim 66,")


NAMES = """
import socket, sys
with socket.socket(fileno=int(sys.argv[1])) as sock:
    print(sock.getpeername()[0])
"""


class TestBareDescriptors:
    def test_a_child_process_sees_a_mapped_peer(self, machine: Machine) -> None:
        with machine.connected(4) as (_, transport), transport.getHandle().dup() as handle:
            command = [sys.executable, "-c", NAMES, str(handle.fileno())]
            shown = subprocess.check_output(command, pass_fds=[handle.fileno()], text=True)
        assert shown == "::ffff:192.0.2.2\n"

    def test_reading_from_the_handle_of_a_datagram_port_bypasses_every_check(self) -> None:
        reactor = Reactor()
        with namespace() as place, place.entered():
            port = listen_datagrams(reactor, DatagramRecorder())
            port.stopReading()
            handle = port.getHandle()
            handle.settimeout(20)
            number = port.getHost().port
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"IPv4", ("127.0.0.1", number))
                assert handle.recvfrom(9)[1][:2] == ("::ffff:127.0.0.1", client.getsockname()[1])
            write_frame("lo", udp_over_ipv6("::ffff:127.0.0.9", 7, "::1", number, b"forged"))
            assert handle.recvfrom(9)[1][:2] == ("::ffff:127.0.0.9", 7)
            stop(reactor, port)
        reactor.close()


ADOPTED = """
import os, socket, sys
sock = socket.create_server(("::", 8080), family=socket.AF_INET6, dualstack_ipv6=True)
os.dup2(sock.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "web", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_socket_that_systemd_hands_over_is_Twisteds(machine: Machine) -> None:
    stop(machine.reactor, machine.port)
    twist = os.path.join(os.path.dirname(sys.executable), "twist")
    listen = "systemd:domain=INET6:index=0"
    command = [sys.executable, "-c", ADOPTED, twist, "web", "--listen", listen]
    with running_command([*machine.host.prefix, *command]) as server:
        server.wait_for_log("Starting reactor")
        assert "Twisted Web" in machine.client.run("curl", "-sS", f"http://{HOST[4]}:{PORT}/")
        server.wait_for_log("::ffff:192.0.2.2")
