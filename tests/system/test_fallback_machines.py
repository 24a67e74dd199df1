"""Families that are really missing: on reactors with port classes of their own as on Twisted's, and
dual-stack sockets that can't be had where both families can."""

from __future__ import annotations

import socket

import pytest
from support.machines import (
    ABSENCES,
    NO_DUAL_STACK,
    NO_IPV4,
    NO_IPV6,
    NO_IPV6_BY_A_SANDBOX,
    NO_OPTION,
    WITNESS,
    announced,
    first,
    listeners,
    reported,
    saying,
    switch_off_ipv6,
)
from support.namespaces import namespace, needs_root
from support.processes import Server, running
from support.seccomp import without

HOSTS = {"IPv4Address": "127.0.0.1", "IPv6Address": "::1"}
MODES = {"ipv4": ["IPv4Address"], "ipv6": ["IPv6Address"], "pair": [*HOSTS], "dual-stack": [*HOSTS]}
REACTORS = pytest.mark.parametrize("reactor", ["epoll", "foreign"])


def serves(server: Server, port: int, mode: str) -> None:
    """The mode's families are served, with canonical addresses, and no other."""
    for kind, host in HOSTS.items():
        if kind in MODES[mode]:
            report = reported(server, host, port)
            for name in ("built_with", "peer", "host"):
                assert report[name] == [kind, host]
            assert report["client"][0] == report["hostname"] == host
        else:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, port))


@pytest.mark.parametrize(
    ("options", "denial", "mode"),
    [
        ("", NO_IPV6, "ipv4"),
        ("", NO_IPV6_BY_A_SANDBOX, "ipv4"),
        ("", NO_OPTION, "ipv4"),
        ("", NO_IPV4, "dual-stack"),
        (":interface=localhost", NO_IPV6, "ipv4"),
        (":interface=localhost", NO_IPV4, "ipv6"),
    ],
)
def test_a_reactor_with_its_own_port_classes_falls_back_too(
    options: str, denial: str, mode: str
) -> None:
    description = f"dualstack:0{options}"
    with running(WITNESS, "foreign", description, "0", prefix=without(denial)) as server:
        port, warnings = announced(server)
        assert port["mode"] == mode
        serves(server, port["port"], mode)
    if mode == "dual-stack":
        assert warnings == []
    else:
        [warning] = warnings
        kind = {"ipv4": "IPv4", "ipv6": "IPv6"}[mode]
        assert f"{kind} only, because this machine can't serve both families (" in warning


@pytest.mark.parametrize(
    ("options", "denial", "text"),
    [
        (":fallback=fail", NO_IPV6, "Address family not supported by protocol"),
        (":fallback=pair", NO_IPV6, "fallback=pair fails, too: this machine has no IPv6"),
        (":interface=127.0.0.1", NO_IPV4, "this machine has no IPv4 sockets"),
    ],
)
def test_it_fails_with_the_reason_too(options: str, denial: str, text: str) -> None:
    description = f"dualstack:0{options}"
    with running(WITNESS, "foreign", description, "0", prefix=without(denial)) as server:
        assert text in first(server, "refused")["refused"]


@pytest.mark.parametrize(
    ("reactor", "options", "denial", "mode"),
    [
        *(("epoll", "", saying(error, NO_IPV6), "ipv4") for error in ABSENCES),
        *(("epoll", "", saying(error, NO_OPTION), "ipv4") for error in ABSENCES),
        ("epoll", ":fallback=ipv4", saying("ENOSYS", NO_IPV6), "ipv4"),
        ("epoll", ":interface=localhost", saying("ESOCKTNOSUPPORT", NO_IPV6), "ipv4"),
        ("epoll", ":interface=localhost", saying("EOPNOTSUPP", NO_OPTION), "ipv4"),
        ("epoll", ":interface=localhost", saying("ENOSYS", NO_IPV4), "ipv6"),
        ("foreign", "", saying("EOPNOTSUPP", NO_IPV6), "ipv4"),
        ("foreign", "", saying("ESOCKTNOSUPPORT", NO_OPTION), "ipv4"),
        ("foreign", ":interface=localhost", saying("ENOSYS", NO_IPV6), "ipv4"),
    ],
)
def test_an_absence_has_many_errors(reactor: str, options: str, denial: str, mode: str) -> None:
    description = f"dualstack:0{options}"
    with running(WITNESS, reactor, description, "0", prefix=without(denial)) as server:
        port, [warning] = announced(server)
        assert port["mode"] == mode
        serves(server, port["port"], mode)
    assert "can't serve both families" in warning


@needs_root
def test_IPv6_switched_off_leaves_it_one_socket_for_IPv4() -> None:
    with namespace() as place:
        switch_off_ipv6(place)
        with running(WITNESS, "foreign", "dualstack:0", "0", prefix=place.prefix) as server:
            port, warnings = announced(server)
            assert (port["mode"], warnings) == ("dual-stack", [])
            assert len(listeners(place, port["port"])) == 1
            report = reported(server, "127.0.0.1", port["port"], place.prefix)
            assert report["peer"] == report["host"] == ["IPv4Address", "127.0.0.1"]


@needs_root
class TestWithoutDualStackSockets:
    """Both families are there, and ``IPV6_V6ONLY`` can be set but not cleared."""

    @REACTORS
    @pytest.mark.parametrize("fallback", ["auto", "pair"])
    def test_two_sockets_take_the_place_of_one(self, reactor: str, fallback: str) -> None:
        description = f"dualstack:0:fallback={fallback}"
        prefix = without(NO_DUAL_STACK)
        with running(WITNESS, reactor, description, "0", prefix=prefix) as server:
            port, [warning] = announced(server)
            assert port["mode"] == "pair"
            listening = {line.split()[3] for line in listeners(None, port["port"])}
            assert listening == {f"0.0.0.0:{port['port']}", f"[::]:{port['port']}"}
            serves(server, port["port"], "pair")
        number = port["port"]
        assert (
            f"listening on 0.0.0.0:{number} and [::]:{number}, a socket for each family, because "
            f"this machine can't serve both families (IPV6_V6ONLY can't be cleared (Invalid "
            f"argument)); choose with fallback="
        ) in warning

    @pytest.mark.parametrize("mode", ["ipv4", "ipv6"])
    def test_one_family_if_that_was_chosen(self, mode: str) -> None:
        description = f"dualstack:0:fallback={mode}"
        prefix = without(NO_DUAL_STACK)
        with running(WITNESS, "epoll", description, "0", prefix=prefix) as server:
            port, _ = announced(server)
            assert port["mode"] == mode
            serves(server, port["port"], mode)

    def test_an_error_if_that_was_chosen(self) -> None:
        prefix = without(NO_DUAL_STACK)
        with running(WITNESS, "epoll", "dualstack:0:fallback=fail", "0", prefix=prefix) as server:
            refusal = first(server, "refused")["refused"]
        assert "IPV6_V6ONLY can't be cleared (Invalid argument)" in refusal

    @pytest.mark.parametrize(
        ("reactor", "error"),
        [("epoll", "EOPNOTSUPP"), ("foreign", "ENOSYS"), ("epoll", "ESOCKTNOSUPPORT")],
    )
    def test_clearing_is_refused_with_many_errors(self, reactor: str, error: str) -> None:
        prefix = without(saying(error, NO_DUAL_STACK))
        with running(WITNESS, reactor, "dualstack:0", "0", prefix=prefix) as server:
            port, [_] = announced(server)
            assert port["mode"] == "pair"
            serves(server, port["port"], "pair")

    def test_a_datagram_port_is_refused_with_the_remedy(self) -> None:
        script = WITNESS.with_name("datagram_witness.py")
        with running(script, "::", "epoll", "fail", prefix=without(NO_DUAL_STACK)) as server:
            event = first(server, "refused")
        assert event["error"] == "NotDualStackError"
        assert "IPV6_V6ONLY can't be cleared (Invalid argument)" in event["refused"]
        assert event["left_open"] == []
