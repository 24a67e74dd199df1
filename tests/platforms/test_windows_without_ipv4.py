"""Windows where IPv4 is off, or only seems to be: its server and its programs under a filter that
takes sockets and options away."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import wine
from support.builds import Distributions
from support.peers import peer
from support.processes import Server, running_command
from support.seccomp import without

PROGRAM = Path(__file__).parent / "programs" / "ipv4_options.py"
# As Linux numbers them, to whose kernel Wine speaks: AF_INET, IP_PKTINFO and IPV6_RECVPKTINFO.
AF_INET = "--deny-family=2"
IPV4_OPTION = "--deny-option=0,8"
IPV6_OPTION = "--deny-option=41,49"
WSAEINVAL, WSAEAFNOSUPPORT = 10022, 10047


@contextlib.contextmanager
def opened(distributions: Distributions, *denials: str) -> Iterator[tuple[Server, dict[str, Any]]]:
    """The program on such a Windows, and the first thing that it says."""
    if reason := wine.lacking():
        pytest.skip(reason)
    prefix = without(*denials)
    with wine.windows(distributions.wheel, prefix) as windows:
        command = [*prefix, *windows.command(PROGRAM)]
        with running_command(command, env=windows.environment) as server:
            yield server, server.event()


def answered(server: Server, port: int, host: str) -> dict[str, Any]:
    with peer(host) as client:
        client.connect((host, port))
        client.send(b"x")
        assert client.recv(10) == b"x"
        return server.event()


def test_without_IPv4_its_option_is_not_needed(distributions: Distributions) -> None:
    denials = (f"{AF_INET}=EAFNOSUPPORT", f"{IPV4_OPTION}=EINVAL")
    with opened(distributions, *denials) as (server, said):
        assert (said["probe"], said["option"]) == (WSAEAFNOSUPPORT, WSAEINVAL)
        assert answered(server, said["port"], "::1")["destination"] == "::1"


def test_with_IPv4_the_same_error_is_the_callers(distributions: Distributions) -> None:
    with opened(distributions, f"{IPV4_OPTION}=EINVAL") as (_, said):
        assert (said["probe"], said["option"]) == (0, WSAEINVAL)
        assert "IP_PKTINFO can't be set" in said["refused"]
        assert said["left_open"] == []


def test_a_denied_IPv4_family_alone_takes_nothing_away(distributions: Distributions) -> None:
    with opened(distributions, f"{AF_INET}=EAFNOSUPPORT") as (server, said):
        assert (said["probe"], said["option"]) == (WSAEAFNOSUPPORT, 0)
        for host in ("127.0.0.1", "::1"):
            event = answered(server, said["port"], host)
            assert event == {"peer": host, "destination": host}


def test_another_error_of_the_probe_is_no_want_of_IPv4(distributions: Distributions) -> None:
    denials = (f"{AF_INET}=EACCES", f"{IPV4_OPTION}=EINVAL")
    with opened(distributions, *denials) as (_, said):
        assert said["probe"] not in (0, WSAEAFNOSUPPORT)
        assert said["option"] == WSAEINVAL
        assert "IP_PKTINFO can't be set" in said["refused"]
        assert said["left_open"] == []


def test_an_option_of_IPv6_is_needed_always(distributions: Distributions) -> None:
    denials = (f"{AF_INET}=EAFNOSUPPORT", f"{IPV6_OPTION}=EINVAL")
    with opened(distributions, *denials) as (_, said):
        assert "IPV6_RECVPKTINFO can't be set" in said["refused"]
        assert said["left_open"] == []
