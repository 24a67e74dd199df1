"""Names of which a real name server answers for one address family only, or late, or never."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.machines import first
from support.namespaces import Namespace, namespace, needs_root
from support.processes import Server, running

pytestmark = needs_root

PROGRAMS = Path(__file__).parent / "programs"


class Network:
    def __init__(self, place: Namespace, server: Server, port: int) -> None:
        self.place = place
        self.server = server
        self.port = port

    def outcomes(self, resolver: str, *names: str, timeout: int = 20) -> dict[str, list[str]]:
        """What a client tells of each of its connects."""
        script = PROGRAMS / "looking_up.py"
        args = (resolver, str(timeout), str(self.port), *names)
        with running(script, *args, prefix=self.place.prefix) as client:
            told: dict[str, list[str]] = first(client, "outcomes")["outcomes"]
            return told

    def asked(self) -> list[tuple[str, str]]:
        """The questions so far."""
        self.server.say("")
        return [(name, kind) for name, kind in first(self.server, "asked")["asked"]]


@pytest.fixture
def network() -> Iterator[Network]:
    with namespace() as place:
        # Each question once; the C library waits a second for an answer, twice for none.
        place.configure("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        script = PROGRAMS / "selective_name_server.py"
        with running(script, prefix=place.prefix) as server:
            first(server, "serves")
            with place.entered():
                listener = socket.create_server(
                    ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128
                )
            with listener:
                yield Network(place, server, listener.getsockname()[1])


@pytest.mark.parametrize(
    ("name", "reached"),
    [
        ("good-good.example", "::1"),
        ("silent-good.example", "::1"),
        ("broken-good.example", "::1"),
        ("late-good.example", "::1"),
        ("good-late.example", "127.0.0.1"),
        ("good-broken.example", "127.0.0.1"),
    ],
)
def test_one_family_that_is_known_is_enough(network: Network, name: str, reached: str) -> None:
    assert network.outcomes("default", name) == {name: [reached]}


@pytest.mark.parametrize("name", ["good-silent.example", "silent-good.example"])
def test_it_is_enough_where_each_family_is_asked_for(network: Network, name: str) -> None:
    reached = "::1" if name.startswith("silent") else "127.0.0.1"
    assert network.outcomes("by-family", name) == {name: [reached]}


@pytest.mark.parametrize("resolver", ["default", "by-family"])
def test_connects_to_a_silent_name_do_not_stop_those_to_others(
    network: Network, resolver: str
) -> None:
    # The C library's own time for an answer.
    network.place.configure("resolv.conf", "nameserver 127.0.0.1\noptions timeout:5 attempts:1\n")
    names = ("30*good-silent.example", "good-good.example")
    outcomes = network.outcomes(resolver, *names, timeout=3)
    assert outcomes["good-good.example"] == ["::1"]


def test_connects_to_one_name_share_a_lookup_for_each_family(network: Network) -> None:
    name = "good-silent.example"
    outcomes = network.outcomes("by-family", f"10*{name}")
    assert set(outcomes[name]) == {"127.0.0.1"}
    assert sorted(network.asked()) == [(name, "A"), (name, "AAAA")]
