"""Datagram servers on machines of every kind, made with seccomp filters and network namespaces."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import Any

import pytest
from support.datagrams import peer
from support.machines import (
    ABSENCES,
    NO_DUAL_STACK,
    NO_IPV6,
    NO_IPV6_BY_A_SANDBOX,
    NO_OPTION,
    announced,
    saying,
)
from support.namespaces import namespace, needs_root
from support.processes import Server, running
from support.seccomp import without

WITNESS = Path(__file__).parents[1] / "integration" / "servers" / "datagram_witness.py"
AF_INET = int(socket.AF_INET)
AF_INET6 = int(socket.AF_INET6)
IP_PKTINFO = f"{int(socket.IPPROTO_IP)},8"
IP_OPTIONS = [
    IP_PKTINFO,
    *(f"{int(socket.IPPROTO_IP)},{number}" for number in (12, 13, 33, 34)),
]
"""IP_RECVTTL, IP_RECVTOS, IP_MULTICAST_TTL and IP_MULTICAST_LOOP beside it."""


def first(server: Server, key: str) -> dict[str, Any]:
    while True:
        event = server.event()
        if key in event:
            return event


def answered(server: Server, port: int, host: str) -> dict[str, Any]:
    """What the witness says about a datagram that is sent to a host and answered from there."""
    with peer("::1" if ":" in host else "127.0.0.1") as client:
        client.connect((host, port))
        client.send(b"x")
        assert client.recv(10) == b"x"
        event = first(server, "peer")
        assert event["peer"] == list(client.getsockname()[:2])
        return event


@pytest.mark.parametrize("error", ["EINVAL", "EAFNOSUPPORT", "ENOPROTOOPT"])
def test_without_IPv4_its_options_are_not_needed(error: str) -> None:
    denials = [f"--deny-option={option}={error}" for option in IP_OPTIONS]
    prefix = without(f"--deny-family={AF_INET}=EAFNOSUPPORT", *denials)
    with running(WITNESS, "::", "epoll", prefix=prefix) as server:
        port = first(server, "port")["port"]
        assert answered(server, port, "::1")["destination"] == "::1"
        # A filter takes sockets away, not IPv4; without its own message that may be forged.
        with peer("127.0.0.1") as client:
            for _ in range(2):
                client.sendto(b"x", ("127.0.0.5", port))
        said = answered(server, port, "::1")
        assert said["destination"] == "::1"
        assert said["without_packet_info"] == 2


@pytest.mark.parametrize("error", ["EINVAL", "EAFNOSUPPORT", "ENOPROTOOPT"])
def test_with_IPv4_the_same_error_is_the_callers(error: str) -> None:
    prefix = without(f"--deny-option={IP_PKTINFO}={error}")
    with running(WITNESS, "::", "epoll", prefix=prefix) as server:
        event = first(server, "refused")
    assert "IP_PKTINFO can't be set" in event["refused"]
    assert event["errno"] == getattr(errno, error)
    assert event["error"] == "OSError"
    assert event["left_open"] == []


@pytest.mark.parametrize(
    ("option_error", "family_error"),
    [("EPERM", "EAFNOSUPPORT"), ("EINVAL", "EACCES"), ("EINVAL", "EMFILE")],
)
def test_another_error_of_the_option_or_of_the_probe_is_the_callers(
    option_error: str, family_error: str
) -> None:
    prefix = without(
        f"--deny-option={IP_PKTINFO}={option_error}", f"--deny-family={AF_INET}={family_error}"
    )
    with running(WITNESS, "::", "epoll", prefix=prefix) as server:
        event = first(server, "refused")
    assert event["errno"] == getattr(errno, option_error)
    assert event["left_open"] == []


def test_a_denied_IPv4_family_alone_takes_nothing_away() -> None:
    prefix = without(f"--deny-family={AF_INET}=EAFNOSUPPORT")
    with running(WITNESS, "::", "epoll", prefix=prefix) as server:
        port = first(server, "port")["port"]
        for host in ("127.0.0.5", "::1"):
            assert answered(server, port, host)["destination"] == host


def test_an_option_of_IPv6_is_needed_always() -> None:
    option = f"{int(socket.IPPROTO_IPV6)},{socket.IPV6_RECVPKTINFO}"
    prefix = without(f"--deny-option={option}=EINVAL", f"--deny-family={AF_INET}=EAFNOSUPPORT")
    with running(WITNESS, "::", "epoll", prefix=prefix) as server:
        event = first(server, "refused")
    assert "IPV6_RECVPKTINFO can't be set" in event["refused"]
    assert event["left_open"] == []


@pytest.mark.parametrize("error", ["EAFNOSUPPORT", "EPERM"])
def test_without_IPv6_the_error_has_reason_and_remedy(error: str) -> None:
    prefix = without(f"--deny-family={AF_INET6}={error}")
    with running(WITNESS, "::", "epoll", "fail", prefix=prefix) as server:
        event = first(server, "refused")
    assert event["error"] == "NotDualStackError"
    assert "this machine has no dual-stack sockets" in event["refused"]
    assert "listen on interface '0.0.0.0' for IPv4 only" in event["refused"]
    assert event["left_open"] == []


def test_the_remedy_works() -> None:
    prefix = without(f"--deny-family={AF_INET6}=EAFNOSUPPORT")
    with running(WITNESS, "0.0.0.0", "epoll", prefix=prefix) as server:
        port = first(server, "port")["port"]
        assert answered(server, port, "127.0.0.5")["destination"] == "127.0.0.5"


LOOPBACK = {"ipv4": "127.0.0.5", "ipv6": "::1"}


@pytest.mark.parametrize(
    ("fallback", "denial", "mode"),
    [
        ((), NO_IPV6, "ipv4"),
        ((), NO_IPV6_BY_A_SANDBOX, "ipv4"),
        ((), NO_OPTION, "ipv4"),
        *(((), saying(error, NO_IPV6), "ipv4") for error in ABSENCES),
        ((), saying("ENOSYS", NO_OPTION), "ipv4"),
        (("auto",), NO_IPV6, "ipv4"),
        (("ipv4",), NO_IPV6, "ipv4"),
        pytest.param((), NO_DUAL_STACK, "ipv4", marks=needs_root),
        pytest.param(("ipv4",), NO_DUAL_STACK, "ipv4", marks=needs_root),
        pytest.param(("ipv6",), NO_DUAL_STACK, "ipv6", marks=needs_root),
    ],
)
def test_one_family_is_served_where_both_can_not_be(
    fallback: tuple[str, ...], denial: str, mode: str
) -> None:
    with running(WITNESS, "::", "epoll", *fallback, prefix=without(denial)) as server:
        port, warnings = announced(server)
        assert port["mode"] == mode
        host = LOOPBACK[mode]
        assert answered(server, port["port"], host)["destination"] == host
    [warning] = warnings
    kind = {"ipv4": "IPv4", "ipv6": "IPv6"}[mode]
    assert f"{kind} only, because " in warning


@pytest.mark.parametrize(
    ("fallback", "denial", "text"),
    [
        ("fail", NO_IPV6, "Address family not supported by protocol"),
        ("ipv6", NO_IPV6, "fallback=ipv6 fails, too"),
        pytest.param("fail", NO_DUAL_STACK, "IPV6_V6ONLY can't be cleared", marks=needs_root),
    ],
)
def test_a_fallback_that_can_not_be_had_is_an_error(fallback: str, denial: str, text: str) -> None:
    with running(WITNESS, "::", "epoll", fallback, prefix=without(denial)) as server:
        event = first(server, "refused")
    assert text in event["refused"]
    assert event["left_open"] == []


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
def test_where_batches_are_denied_single_datagrams_do(error: str) -> None:
    prefix = without(f"--deny-call=recvmmsg={error}")
    with running(WITNESS, "::", "epoll", prefix=prefix) as server:
        port = first(server, "port")["port"]
        for host in ("127.0.0.5", "::1", "127.0.0.6"):
            assert answered(server, port, host)["destination"] == host


@pytest.mark.parametrize("reactor", ["asyncio", "poll", "select"])
def test_every_reactor_serves_both_families(reactor: str) -> None:
    with running(WITNESS, "::", reactor) as server:
        port = first(server, "port")["port"]
        for host in ("127.0.0.5", "::1"):
            assert answered(server, port, host)["destination"] == host


@needs_root
def test_IPv6_switched_off_by_sysctl_still_serves_IPv4() -> None:
    with namespace() as place:
        for scope in ("all", "default", "lo"):
            place.run("sysctl", "-qw", f"net.ipv6.conf.{scope}.disable_ipv6=1")
        with running(WITNESS, "::", "epoll", prefix=place.prefix) as server:
            port = first(server, "port")["port"]
            with place.entered():
                assert answered(server, port, "127.0.0.5")["destination"] == "127.0.0.5"
