"""Ports that another socket holds, as Windows tells it: WSAEADDRINUSE, or WSAEACCES for a socket
with SO_EXCLUSIVEADDRUSE."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

import pytest

from dsadapter.errors import NotDualStackError
from dsadapter.policy import DatagramPolicy, ListenPolicy
from dsadapter.sockets.binding import open_datagram_socket, open_listening_socket
from dsadapter.sockets.listening import open_listening_sockets
from dsadapter.sockets.options import read_v6only

KINDS: dict[str, tuple[Any, Any, Callable[[Any], socket.socket]]] = {
    "tcp": (socket.SOCK_STREAM, ListenPolicy, open_listening_socket),
    "udp": (socket.SOCK_DGRAM, DatagramPolicy, open_datagram_socket),
}
HOLDERS = {"::": "both", "0.0.0.0": "ipv4", "127.0.0.1": "ipv4", "::1": "ipv6"}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def hold(kind: int, host: str, *, exclusively: bool, number: int = 0) -> socket.socket:
    held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    if ":" in host:
        held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
    if exclusively:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    held.bind((host, number))
    if kind == socket.SOCK_STREAM:
        held.listen()
    return held


def test_it_is_v6_only_unless_told_otherwise(kind: str) -> None:
    type_, policy, opened = KINDS[kind]
    with socket.socket(socket.AF_INET6, type_) as plain:
        assert read_v6only(plain) is True
        # One byte is written of the four.
        assert plain.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 4)[:1] == b"\1"
    for host, expected in (("::", False), ("::1", True)):
        with opened(policy(host, 0)) as sock:
            assert read_v6only(sock) is expected


@pytest.mark.parametrize("exclusively", [False, True])
@pytest.mark.parametrize("holder", HOLDERS)
def test_a_held_port_says_which_family_is_held(kind: str, holder: str, exclusively: bool) -> None:
    type_, policy, opened = KINDS[kind]
    with hold(type_, holder, exclusively=exclusively) as held:
        number = held.getsockname()[1]
        with pytest.raises(OSError, match=f"{number}.* held by another socket") as told:
            opened(policy("::", number))
        assert told.value.errno == errno.EADDRINUSE
        assert not isinstance(told.value, NotDualStackError)
        said = str(told.value)
        assert (f"0.0.0.0:{number} and [::]:{number} are held" in said) is (holder == "::")
        if (kind, holder) == ("tcp", "127.0.0.1"):
            assert f"127.0.0.1:{number} is held" in said
        free = {"ipv4": "ipv6", "ipv6": "ipv4"}.get(HOLDERS[holder])
        if free is None:
            assert "serves" not in said
            return
        assert f"family={free!r} serves" in said
        # The advice works.
        with opened(policy("::", number, family=free)) as sock:
            assert sock.getsockname()[1] == number


def test_a_socket_that_is_exclusive_is_told_of_like_a_reserved_port() -> None:
    with hold(socket.SOCK_STREAM, "::", exclusively=True) as held:
        number = held.getsockname()[1]
        with pytest.raises(OSError, match=r"excludedportrange protocol=tcp") as told:
            open_listening_socket(ListenPolicy("0.0.0.0", number))
    assert told.value.errno == errno.EADDRINUSE
    assert f"'dsadapter doctor {number}'" in str(told.value)


@pytest.mark.parametrize("stolen", ["::", "0.0.0.0", "127.0.0.1"])
def test_nobody_binds_over_a_port_of_ours(kind: str, stolen: str) -> None:
    type_, policy, opened = KINDS[kind]
    with opened(policy("::", 0)) as sock:
        number = sock.getsockname()[1]
        family = socket.AF_INET6 if ":" in stolen else socket.AF_INET
        with socket.socket(family, type_) as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError):
                thief.bind((stolen, number))


def test_a_pair_gets_one_number_of_the_system() -> None:
    """However often the number that one family gets is held in the other."""
    refused: list[socket.socket] = []

    def hold_the_number(sock: socket.socket, policy: ListenPolicy) -> None:
        # Once an address of the first family is bound, its number is taken in the other.
        if policy.port and len(refused) < 3:
            refused.append(
                hold(socket.SOCK_STREAM, "0.0.0.0", exclusively=True, number=policy.port)
            )

    opened = open_listening_sockets(ListenPolicy("localhost", 0), hold_the_number)
    try:
        numbers = {sock.getsockname()[1] for sock in opened.sockets}
        assert len(opened.sockets) == 2
        assert len(numbers) == 1
        assert numbers.isdisjoint(held.getsockname()[1] for held in refused)
        assert len(refused) == 3
    finally:
        for sock in (*opened.sockets, *refused):
            sock.close()
