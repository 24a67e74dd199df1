"""``examples/plugin_egress``, installed, on a machine on which every address answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
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
    "fd00::1": ["fd00::1"],
    "fec0::1": ["fec0::1"],
    "2001:db8::1": ["2001:db8::1"],
    "64:ff9b::7f00:1": ["64:ff9b::7f00:1", "64:ff9b::127.0.0.1"],
    "64:ff9b::a00:1": ["64:ff9b::10.0.0.1"],
    "64:ff9b:1::1": ["64:ff9b:1::1"],
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
        assert "raised PermissionError: " in outcome.get("error", ""), (host, outcome)
        assert "is not a public address" in outcome["error"]
    for canonical, spellings in PRIVATE.items():
        for spelling in spellings:
            assert f"PermissionError: {canonical} is not" in outcomes[spelling]["error"]
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
