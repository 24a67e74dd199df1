"""Every place where a stream connection of Twisted shows an address, one test a row.

Each row also runs against Twisted's own ``tcp6:`` endpoint on ``::``, where the same assertion has
to find the mapped address.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.processes import Server, running
from support.windows import WINDOWS, nothing_is_mapped

from dsadapter.addressing import is_mapped

WITNESS = Path(__file__).parent / "servers" / "witness.py"
# Connections of iocp have neither a client nor a hostname; tests/windows asks them.
REACTORS = ["select", "asyncio", *([] if WINDOWS else ["epoll", "poll", "uvloop"])]


class Crossing(NamedTuple):
    """One client's connection, and the address that a right or a leaking server shows for it."""

    description: str
    loopback: str
    kind: str
    host: str


DUAL_IPV4 = Crossing("dualstack:0", "127.0.0.1", "IPv4Address", "127.0.0.1")
DUAL_IPV6 = Crossing("dualstack:0", "::1", "IPv6Address", "::1")
LEAK = Crossing(r"tcp6:0:interface=\:\:", "127.0.0.1", "IPv6Address", "::ffff:127.0.0.1")
CROSSINGS = [
    pytest.param(DUAL_IPV4, id="dualstack-ipv4"),
    pytest.param(DUAL_IPV6, id="dualstack-ipv6"),
    pytest.param(LEAK, id="tcp6-leaks", marks=nothing_is_mapped),
]


class Seen(NamedTuple):
    """What the server said of one connection."""

    crossing: Crossing
    client_port: int
    connection: dict[str, Any]
    log: str


def ask(server: Server, port: int, crossing: Crossing, tls: bool = False) -> Seen:
    with socket.create_connection((crossing.loopback, port)) as client:
        name = client.getsockname()
        if tls:
            client.sendall(b"tls")
            assert client.recv(5) == b"ready"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            with context.wrap_socket(client) as wrapped:
                wrapped.sendall(b"report")
                return Seen(crossing, name[1], *reversed(log_and_report(server)))
        client.sendall(b"report")
        return Seen(crossing, name[1], *reversed(log_and_report(server)))


def log_and_report(server: Server) -> tuple[str, dict[str, Any]]:
    while True:
        event = server.event()
        if "a line of the application" in event.get("log", ""):
            line = event["log"]
        elif "built_with" in event:
            return line, event


class Listening(NamedTuple):
    server: Server
    port: int
    announced: dict[str, Any]


@contextlib.contextmanager
def listening(reactor: str, description: str, descriptors: int = 0) -> Iterator[Listening]:
    with running(WITNESS, reactor, description, str(descriptors)) as server:
        event: dict[str, Any] = {}
        while "port" not in event:
            event = server.event()
        yield Listening(server, event["port"], event)


Listeners = Callable[[Crossing], Listening]


@pytest.fixture(scope="module")
def started() -> Iterator[Callable[[str, str], Listening]]:
    """Each when it is asked for, once."""
    with contextlib.ExitStack() as stack:
        yield functools.cache(
            lambda reactor, description: stack.enter_context(listening(reactor, description))
        )


@pytest.fixture(scope="module", params=REACTORS)
def listeners(
    request: pytest.FixtureRequest, started: Callable[[str, str], Listening]
) -> Listeners:
    """Those of one reactor."""
    return lambda crossing: started(request.param, crossing.description)


@pytest.fixture(scope="module", params=CROSSINGS)
def seen(request: pytest.FixtureRequest, listeners: Listeners) -> Seen:
    server, port, _ = listeners(request.param)
    return ask(server, port, request.param)


def test_the_leaking_twin_leaks_and_the_others_do_not() -> None:
    crossings = (DUAL_IPV4, DUAL_IPV6, LEAK)
    assert [is_mapped(crossing.host) for crossing in crossings] == [False, False, True]


def test_T1_buildProtocol_address(seen: Seen) -> None:
    assert seen.connection["built_with"] == [seen.crossing.kind, seen.crossing.host]


def test_T2_transport_client_and_hostname(seen: Seen) -> None:
    tail = [] if seen.crossing.kind == "IPv4Address" else [0, 0]
    assert seen.connection["client"] == [seen.crossing.host, seen.client_port, *tail]
    assert seen.connection["hostname"] == seen.crossing.host


def test_T3_log_prefix(seen: Seen) -> None:
    assert seen.connection["logstr"].endswith(f",{seen.crossing.host}")
    assert f",{seen.crossing.host}] a line of the application" in seen.log


def test_T4_getPeer(seen: Seen) -> None:
    assert seen.connection["peer"] == [seen.crossing.kind, seen.crossing.host]


def test_T5_getHost(seen: Seen) -> None:
    assert seen.connection["host"] == [seen.crossing.kind, seen.crossing.host]


def test_T6_address_type(seen: Seen) -> None:
    kinds = {seen.connection[name][0] for name in ("built_with", "peer", "host")}
    assert kinds == {seen.crossing.kind}


def test_T10_getHandle_names(seen: Seen) -> None:
    hosts = [name[0] for name in seen.connection["handle_names"]]
    assert hosts == [seen.crossing.host, seen.crossing.host]


@pytest.mark.parametrize("crossing", CROSSINGS)
def test_T11_after_startTLS(listeners: Listeners, crossing: Crossing) -> None:
    server, port, _ = listeners(crossing)
    seen = ask(server, port, crossing, tls=True)
    assert seen.connection["tls"]
    assert seen.connection["peer"] == [crossing.kind, crossing.host]
    assert seen.connection["host"] == [crossing.kind, crossing.host]
    assert seen.connection["logstr"].endswith(f",{crossing.host}")


def test_T13_every_reactor_uses_Twisteds_own_transport(seen: Seen) -> None:
    assert seen.connection["transport"][0] == "twisted.internet.tcp.Server"


@pytest.mark.not_on_windows("limits descriptors by setrlimit")
@pytest.mark.parametrize(
    ("description", "leaks"),
    [("dualstack:0", False), (LEAK.description, True)],
    ids=["dualstack", "tcp6-leaks"],
)
def test_T7_EMFILE_recovery_log(description: str, leaks: bool) -> None:
    with listening("epoll", description, descriptors=40) as (server, port, _):
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
        try:
            line = ""
            while "Closed socket from" not in line:
                line = server.event().get("log", "")
        finally:
            for client in clients:
                client.close()
    assert "127.0.0.1" in line
    assert ("::ffff:127.0.0.1" in line) == leaks


@pytest.mark.parametrize(
    ("prefix", "host"),
    [
        pytest.param("dualstack", ["IPv4Address", "127.0.0.1"], id="dualstack"),
        pytest.param(
            "tcp6", ["IPv6Address", "::ffff:127.0.0.1"], id="tcp6-leaks", marks=nothing_is_mapped
        ),
    ],
)
def test_T8_getHost_of_a_port_bound_to_a_mapped_literal(prefix: str, host: list[str]) -> None:
    description = rf"{prefix}:0:interface=\:\:ffff\:127.0.0.1"
    with listening(REACTORS[0], description) as (server, port, announced):
        assert announced["host"] == host
        kind, address = host
        seen = ask(server, port, Crossing(description, "127.0.0.1", kind, address))
        assert seen.connection["peer"] == host


@pytest.mark.parametrize(
    ("prefix", "interface"),
    [
        pytest.param("dualstack", "127.0.0.1", id="dualstack"),
        pytest.param("tcp6", "::ffff:127.0.0.1", id="tcp6-leaks", marks=nothing_is_mapped),
    ],
)
def test_T9_CannotListenError(prefix: str, interface: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        description = rf"{prefix}:{port}:interface=\:\:ffff\:127.0.0.1"
        with running(WITNESS, REACTORS[0], description, "0") as server:
            event: dict[str, Any] = {}
            while "refused" not in event:
                event = server.event()
    assert event["interface"] == interface
    assert ("::ffff:" in event["refused"]) == is_mapped(interface)
    assert f"{interface}:{port}" in event["refused"]
