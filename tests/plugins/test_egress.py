"""``examples/plugin_egress``, installed, on a machine on which every address answers."""

from __future__ import annotations

import ipaddress
import json
import runpy
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.builds import CHECKOUT, Distributions, environment_with
from support.environments import Environment, clean_environment
from support.namespaces import Namespace, namespace, needs_root

SCRIPTS = Path(__file__).parent / "scripts"
EXAMPLE = CHECKOUT / "examples" / "plugin_egress"

# By what the destination is to the kernel.
PRIVATE = {
    "127.0.0.1": ["127.0.0.1", "::ffff:127.0.0.1", "::FFFF:7f00:1", "0:0:0:0:0:ffff:127.0.0.1"],
    "127.9.9.9": ["127.9.9.9", "::ffff:7f09:909"],
    "::1": ["::1", "0:0:0:0:0:0:0:1", "::0001"],
    "0.0.0.0": ["0.0.0.0", "::ffff:0.0.0.0", "::ffff:0:0"],
    "::": ["::", "0::0"],
    "10.0.0.1": ["10.0.0.1", "::ffff:10.0.0.1", "::ffff:a00:1"],
    "172.16.0.1": ["172.16.0.1", "::ffff:172.16.0.1"],
    "192.168.0.1": ["192.168.0.1", "::ffff:c0a8:1"],
    "100.64.0.1": ["100.64.0.1", "::ffff:100.64.0.1"],
    "169.254.169.254": ["169.254.169.254", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe"],
    "192.0.2.1": ["192.0.2.1", "::ffff:192.0.2.1"],
    "192.0.0.1": ["192.0.0.1", "::ffff:192.0.0.1", "::ffff:c000:1"],
    "192.0.0.9": ["192.0.0.9", "::ffff:192.0.0.9"],
    "192.0.0.255": ["192.0.0.255", "::FFFF:c000:ff"],
    "192.88.99.1": ["192.88.99.1", "::ffff:192.88.99.1", "0:0:0:0:0:ffff:c058:6301"],
    "198.18.0.1": ["198.18.0.1", "::ffff:198.18.0.1"],
    "198.51.100.1": ["198.51.100.1", "::ffff:198.51.100.1"],
    "203.0.113.1": ["203.0.113.1", "::ffff:203.0.113.1"],
    "fd00::1": ["fd00::1"],
    "100::1": ["100::1"],
    "2001::1": ["2001::1", "2001:0:0::1"],
    "2001:20::1": ["2001:20::1", "2001:0020::0001"],
    "3fff::1": ["3fff::1", "3FFF:0:0:0:0:0:0:1"],
    "3fff:fff::1": ["3fff:fff::1", "3fff:0fff::1"],
    "5f00::1": ["5f00::1"],
    "fec0::1": ["fec0::1"],
    "2001:db8::1": ["2001:db8::1"],
    "64:ff9b::7f00:1": ["64:ff9b::7f00:1", "64:ff9b::127.0.0.1"],
    "64:ff9b::a00:1": ["64:ff9b::10.0.0.1"],
    "64:ff9b::c000:9": ["64:ff9b::192.0.0.9"],
    "64:ff9b:1::1": ["64:ff9b:1::1"],
    "2002:c058:6301::1": ["2002:c058:6301::1"],
    "2002:7f00:1::1": ["2002:7f00:1::1"],
    "2002:a00:1::": ["2002:a00:1::"],
    "::127.0.0.1": ["::127.0.0.1", "::7f00:1"],
    "::ffff:0:7f00:1": ["::ffff:0:127.0.0.1"],
}
SPELLINGS = [spelling for spellings in PRIVATE.values() for spelling in spellings]
UNANSWERED = ["fe80::1%lo", "224.0.1.1", "::ffff:224.0.1.1", "ff0e::1", "255.255.255.255"]
"""No stream connection can be made to these, filter or not."""
AMBIGUOUS = ["127.1", "0x7f.1", "0177.0.0.1", "2130706433", "017700000001"]
NAMES = {
    "loopback.example": ["127.0.0.1", "::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "private.example": ["10.0.0.1", "fd00::1"],
    "mixed.example": ["10.0.0.1", "9.9.9.9"],
}
PUBLIC = {
    "9.9.9.9": "9.9.9.9",
    "::ffff:9.9.9.9": "9.9.9.9",
    "2620:fe::9": "2620:fe::9",
    "64:ff9b::9.9.9.9": "64:ff9b::909:909",
    "2002:909:909::1": "2002:909:909::1",
    "mixed.example": "9.9.9.9",
}
"""Who the peer then is."""


@pytest.fixture(scope="module")
def environment(
    distributions: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    return environment_with(
        "examples/plugin_egress", distributions, tmp_path_factory.mktemp("egress")
    )


@pytest.fixture(scope="module")
def machine() -> Iterator[Namespace]:
    """All addresses that can be connected to are its own."""
    with namespace() as place:
        place.run("ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo")
        place.run("ip", "-6", "route", "add", "local", "::/0", "dev", "lo")
        lines = [f"{address} {name}" for name, own in NAMES.items() for address in own]
        place.configure("hosts", "\n".join(["127.0.0.1 localhost", "::1 localhost", *lines]))
        yield place


class Witness:
    """A server, and everything that the machine sends to its port, by whatever address."""

    def __init__(self, place: Namespace) -> None:
        with place.entered():
            every_protocol = socket.htons(0x0003)
            self._frames = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, every_protocol)
            self._frames.setblocking(False)
            self.server = socket.create_server(
                ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True
            )
        self.port = self.server.getsockname()[1]

    def packets(self) -> int:
        """How many have been sent to the port since the last call."""
        count = 0
        while True:
            try:
                packet = self._frames.recv(65536)
            except BlockingIOError:
                return count
            header = 4 * (packet[0] & 15) if packet[0] >> 4 == 4 else 40
            count += int.from_bytes(packet[header + 2 : header + 4]) == self.port

    def close(self) -> None:
        self.server.close()
        self._frames.close()


@pytest.fixture
def witness(machine: Namespace) -> Iterator[Witness]:
    made = Witness(machine)
    yield made
    made.close()


def connect(
    environment: Environment, place: Namespace, port: int, hosts: list[str], **variables: str
) -> dict[str, dict[str, str]]:
    """What becomes of connecting to each host: the peer, or the error."""
    script = [str(environment.python), "-I", str(SCRIPTS / "connect.py")]
    settings = [f"{key}={value}" for key, value in clean_environment(**variables).items()]
    said = place.run("env", "-i", *settings, *script, str(port), *hosts)
    outcomes: dict[str, Any] = json.loads(said)
    assert list(outcomes) == hosts
    return outcomes


SPECIAL = [
    # https://www.iana.org/assignments/iana-ipv4-special-registry: what is not globally reachable,
    # 192.0.0.0/24 as a whole, and the deprecated relays of 6to4.
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
    *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "255.255.255.255/32"),
    # https://www.iana.org/assignments/multicast-addresses
    "224.0.0.0/4",
    # https://www.iana.org/assignments/iana-ipv6-special-registry, 2001::/23 as a whole.
    *("::1/128", "::/128", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23"),
    *("2001::/32", "2001:2::/48", "2001:10::/28", "2001:db8::/32", "3fff::/20", "5f00::/16"),
    *("fc00::/7", "fe80::/10"),
    # https://www.iana.org/assignments/ipv6-address-space: all but 2000::/3.
    *("::/96", "fec0::/10", "ff00::/8", "4000::/3", "::ffff:0:0:0/96"),
]
BESIDE = [
    *("1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"),
    *("128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0"),
    *("191.255.255.255", "192.0.1.0", "192.0.1.255", "192.0.3.0", "192.88.98.255", "192.88.100.0"),
    *("192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255"),
    *("198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255"),
    *("2000::", "2000:ffff::1", "2001:200::", "2001:db7:ffff::1", "2001:db9::", "2003::"),
    *("2002:101:101::", "3ffe:ffff::1", "3fff:1000::"),
    # In the registries as globally reachable: AMT, AS112.
    *("192.31.196.1", "192.52.193.1", "192.175.48.1", "2620:4f:8000::1"),
]
"""Public addresses, most of them next to a block that is not."""


@pytest.fixture(scope="module")
def is_public() -> Callable[[str], bool]:
    """The example's judgement of a text."""
    names = runpy.run_path(str(EXAMPLE / "dsadapter_egress.py"))
    return lambda text: bool(names["is_public"](ipaddress.ip_address(text)))


def spellings(address: str) -> list[str]:
    """An address alone, and where an IPv4 one may be inside: mapped, NAT64, 6to4."""
    if ":" in address:
        return [address]
    packed = ipaddress.IPv4Address(address).packed.hex()
    return [
        address,
        f"::ffff:{address}",
        f"64:ff9b::{address}",
        f"2002:{packed[:4]}:{packed[4:]}::1",
    ]


@pytest.mark.parametrize("block", SPECIAL)
def test_a_special_block_is_not_public_from_end_to_end(
    is_public: Callable[[str], bool], block: str
) -> None:
    network = ipaddress.ip_network(block)
    for number in (0, 1, network.num_addresses // 2, network.num_addresses - 1):
        for spelling in spellings(str(network[number % network.num_addresses])):
            assert not is_public(spelling), spelling


@pytest.mark.parametrize("address", BESIDE)
def test_what_is_beside_a_special_block_is_public(
    is_public: Callable[[str], bool], address: str
) -> None:
    for spelling in spellings(address):
        assert is_public(spelling), spelling


def test_it_is_under_30_lines() -> None:
    assert len((EXAMPLE / "dsadapter_egress.py").read_text().splitlines()) < 30


@needs_root
def test_what_is_not_public_is_refused_in_every_spelling_before_a_packet_is_sent(
    environment: Environment, machine: Namespace, witness: Witness
) -> None:
    hosts = [*SPELLINGS, *UNANSWERED, "localhost", "loopback.example", "mapped.example"]
    required = {"DSADAPTER_REQUIRE_PLUGINS": "egress"}
    outcomes = connect(environment, machine, witness.port, hosts, **required)
    for host, outcome in outcomes.items():
        assert "plugin 'egress' refused: " in outcome.get("error", ""), (host, outcome)
        assert "is not a public address" in outcome["error"]
        assert "BLOCK_PLUGINS" not in outcome["error"]
    for canonical, spellings in PRIVATE.items():
        for spelling in spellings:
            assert f"refused: {canonical} is not" in outcomes[spelling]["error"]
    assert witness.packets() == 0


@needs_root
def test_without_it_each_of_them_answers(
    environment: Environment, machine: Namespace, witness: Witness
) -> None:
    hosts = [*SPELLINGS, "localhost", *NAMES]
    blocked = {"DSADAPTER_BLOCK_PLUGINS": "egress"}
    outcomes = connect(environment, machine, witness.port, hosts, **blocked)
    assert [host for host, outcome in outcomes.items() if "peer" not in outcome] == []
    assert witness.packets() >= len(hosts)


@needs_root
def test_what_is_public_is_connected_to(
    environment: Environment, machine: Namespace, witness: Witness
) -> None:
    outcomes = connect(environment, machine, witness.port, list(PUBLIC))
    assert outcomes == {host: {"peer": peer} for host, peer in PUBLIC.items()}


@needs_root
def test_what_parsers_read_in_different_ways_is_refused_without_it(
    environment: Environment, machine: Namespace, witness: Witness
) -> None:
    blocked = {"DSADAPTER_BLOCK_PLUGINS": "egress"}
    outcomes = connect(environment, machine, witness.port, AMBIGUOUS, **blocked)
    for host, outcome in outcomes.items():
        assert outcome["error"].startswith("ValueError: ")
        assert repr(host) in outcome["error"]
    assert witness.packets() == 0
