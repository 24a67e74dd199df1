"""Twisted's own tests, run against the adapter; each suite and reactor in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.versions import TESTS_IPV6_MULTICAST, lacking
from twisted.internet.test.reactormixins import ReactorBuilder

SUITES = Path(__file__).parent
SUITE_SECONDS = 150
"""Far more than a suite takes: this only ends what the suite's own limits have not ended."""

REACTORS = (
    "EPollReactor",
    "PollReactor",
    "SelectReactor",
    "AsyncioSelectorReactor",
    "ThreadedSelectReactor",
)

EXEMPTION = "test_portGetHostOnIPv4"
MULTICAST_EXEMPTION = "MulticastTests.test_interface"
"""Their premise is that no interface means IPv4; here it means both families."""
OUTCOME = "IPv6Address(type='TCP', host='::'"
MULTICAST_OUTCOME = "0 != '0.0.0.0'"

COUNTED = "26.10."
"""The Twisted releases whose tests were counted. Others are held to what 22.10 has."""
RAN = {
    "reactor_route": 140,
    "canonical_route": 140,
    "endpoint_builders": 99,
    "port_cases": 22,
    "datagram_route": 54,
    "datagram_cases": 26,
}
RAN_AT_LEAST = {
    "reactor_route": 110,
    "canonical_route": 110,
    "endpoint_builders": 87,
    "port_cases": 22,
    "datagram_route": 54,
    "datagram_cases": 17,
}
LISTENED = 90
"""Tests of the route that listen through the adapter; the others connect only, or adopt."""
ADOPTED = 25
"""Tests of the route that adopt."""
LISTENED_AROUND = {
    f"TestBindAddressBuilder.test_bindAddress{name}"
    for name in (
        "Basic",
        "ListenConsistent",
        "ListenInconsistent",
        "ReuseAddr",
        "ReuseAddrPort",
        "ReusePort",
    )
}
"""Tests that hand ``listenTCP`` a ``Binding`` in place of the port."""

NETWORK = """
set -e
ip link set lo up
ip address add fe80::1/64 dev lo nodad
ip link add multicast0 type veth peer name multicast1
sysctl -qw net.ipv6.conf.multicast1.disable_ipv6=1
ip link set multicast0 up
ip link set multicast1 up
ip address add 10.0.0.1/24 dev multicast0
ip address add fd00::1/64 dev multicast0 nodad
ip route add 224.0.0.0/4 dev multicast0
exec "$@"
"""
"""A loopback of its own, with the link-local address that Twisted skips tests without; and one
interface that groups are reached by."""


@pytest.fixture(scope="session")
def network() -> list[str]:
    """A command that runs another one in a network namespace."""
    root = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", "--net", *root, "sh", "-c", NETWORK, "network"]
    probe = subprocess.run([*command, "true"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"no network namespace can be made; run as root: {probe.stderr.strip()}")
    return command


def run(network: list[str], suite: str, reactor: str) -> dict[str, Any]:
    if not any(name.endswith(f".{reactor}") for name in ReactorBuilder._reactors):
        pytest.skip(lacking(f"does not test {reactor} itself"))
    process = subprocess.run(
        [*network, sys.executable, str(SUITES / "run_suite.py"), suite, reactor],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=SUITE_SECONDS,
    )
    assert process.returncode == 0, "the suite did not finish; standard error says where it was"
    report: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return report


def assert_conforms(
    suite: str,
    report: dict[str, Any],
    exempt: str | None = None,
    outcome: str = OUTCOME,
    skipped: frozenset[str] = frozenset(),
) -> None:
    """Nothing but ``exempt`` failed, and that for its reason; nothing is missing."""
    failed = report["failed"]
    assert list(failed) == ([exempt] if exempt else [])
    if exempt:
        assert failed[exempt].startswith(outcome)
    assert set(report["skipped"]) <= skipped
    if report["twisted"].startswith(COUNTED):
        assert report["ran"] == RAN[suite]
    else:
        assert report["ran"] >= RAN_AT_LEAST[suite]


@pytest.mark.parametrize("reactor", REACTORS)
def test_reactor_that_listens_through_the_endpoint(network: list[str], reactor: str) -> None:
    report = run(network, "reactor_route", reactor)

    assert_conforms("reactor_route", report, exempt=f"TCPPortTestsBuilder.{EXEMPTION}")
    listened = {through: set(tests) for through, tests in report["listened"].items()}
    if report["twisted"].startswith(COUNTED):
        assert len(listened["dsadapter"]) == LISTENED
        assert listened["twisted"] == LISTENED_AROUND
        assert len(listened["adopted"]) == ADOPTED
    else:
        assert listened.get("twisted", set()) <= LISTENED_AROUND


@pytest.mark.parametrize("reactor", ["EPollReactor", "SelectReactor"])
def test_reactor_whose_own_endpoints_are_made_canonical(network: list[str], reactor: str) -> None:
    report = run(network, "canonical_route", reactor)

    assert_conforms("canonical_route", report)
    assert len(report["listened"]["dsadapter"]) >= 85


@pytest.mark.parametrize("reactor", REACTORS)
def test_ports_transports_and_connections_of_one_dual_stack_endpoint(
    network: list[str], reactor: str
) -> None:
    report = run(network, "endpoint_builders", reactor)

    assert_conforms("endpoint_builders", report, exempt=f"PortBuilder.{EXEMPTION}")


def test_endpoints_without_descriptors_and_port_whose_accepts_fail(network: list[str]) -> None:
    report = run(network, "port_cases", "EPollReactor")

    assert_conforms("port_cases", report)


@pytest.mark.parametrize("reactor", REACTORS)
def test_reactor_whose_datagrams_are_the_endpoints(network: list[str], reactor: str) -> None:
    report = run(network, "datagram_route", reactor)

    assert_conforms("datagram_route", report)
    assert len(report["listened"]["dsadapter"]) >= 18
    assert len(report["listened"]["adopted"]) >= 17


def test_datagrams_and_multicast_on_the_global_reactor(network: list[str]) -> None:
    report = run(network, "datagram_cases", "EPollReactor")

    assert_conforms(
        "datagram_cases",
        report,
        # Later the test names an interface.
        exempt=None if TESTS_IPV6_MULTICAST else MULTICAST_EXEMPTION,
        outcome=MULTICAST_OUTCOME,
        # Twisted has this test for IPv4 alone.
        skipped=frozenset({"MulticastTestsIPv6.test_TTL"}),
    )
    assert len(report["listened"]["dsadapter"]) >= 17
