"""Twisted servers on machines of every kind, made with network namespaces and seccomp filters."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
from support.machines import (
    NO_IPV4,
    NO_IPV6,
    NO_IPV6_BY_A_SANDBOX,
    NO_OPTION,
    WITNESS,
    first,
    listeners,
    reported,
    switch_off_ipv6,
)
from support.namespaces import Namespace, namespace, needs_root
from support.processes import running, running_command
from support.seccomp import without

from dsadapter.policy import FALLBACKS

NOBODY = 65534
AF_INET = int(socket.AF_INET)
AF_INET6 = int(socket.AF_INET6)


@needs_root
def test_twistd_binds_a_privileged_port_before_it_drops_root(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    twistd = Path(sys.executable).with_name("twistd")
    command = [
        *("--nodaemon", "--pidfile=", f"--rundir={tmp_path}", f"--uid={NOBODY}", f"--gid={NOBODY}"),
        *("web", "--listen", "dualstack:80"),
    ]
    with namespace() as place:
        with running_command([*place.prefix, str(twistd), *command]) as server:
            server.wait_for_log("starting on 80")
            server.wait_for_log("set uid/gid")
            for family, host in (("-4", "127.0.0.1"), ("-6", "[::1]")):
                assert "Twisted Web" in place.run("curl", "-sS", family, f"http://{host}/")
            assert len(listeners(place, 80)) == 1
            status = Path(f"/proc/{server.process.pid}/status").read_text()
            [uids] = [line.split()[1:] for line in status.splitlines() if line[:4] == "Uid:"]
            assert set(uids) == {str(NOBODY)}
            log = server.stop()
    assert '"127.0.0.1" - -' in log
    assert '"::1" - -' in log
    assert "::ffff:" not in log.lower()


@needs_root
def test_a_refused_privileged_port_is_named() -> None:
    with namespace() as place:
        prefix = (*place.prefix, "setpriv", "--bounding-set=-net_bind_service")
        with running(WITNESS, "epoll", "dualstack:80", "0", prefix=prefix) as server:
            event = first(server, "refused")
    assert event["refused"].startswith(
        "Couldn't listen on :::80: [Errno 13] Permission denied ([::]:80)"
    )


@needs_root
def test_IPv6_switched_off_by_sysctl_still_serves_IPv4_through_one_socket() -> None:
    with namespace() as place:
        switch_off_ipv6(place)
        with running(WITNESS, "epoll", "dualstack:0", "0", prefix=place.prefix) as server:
            port = first(server, "port")["port"]
            assert len(listeners(place, port)) == 1
            report = reported(server, "127.0.0.1", port, place.prefix)
            assert report["peer"] == ["IPv4Address", "127.0.0.1"]


@needs_root
def test_the_system_default_of_v6only_does_not_matter() -> None:
    with namespace() as place:
        place.run("sysctl", "-qw", "net.ipv6.bindv6only=1")
        with running(WITNESS, "epoll", "dualstack:0", "0", prefix=place.prefix) as server:
            port = first(server, "port")["port"]
            for host, kind in (("127.0.0.1", "IPv4Address"), ("::1", "IPv6Address")):
                assert reported(server, host, port, place.prefix)["peer"] == [kind, host]


def add_link_local(place: Namespace) -> None:
    """``fe80::7`` on ``wire0``."""
    place.run("ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire1")
    for end in ("wire0", "wire1"):
        place.run("ip", "link", "set", end, "up")
    place.add_addresses("wire0", "fe80::7")


@needs_root
@pytest.mark.parametrize("description", ["dualstack:0", r"tcp6:0:interface=\:\:"])
def test_a_link_local_peer_keeps_its_zone_as_with_tcp6(description: str) -> None:
    with namespace() as place:
        add_link_local(place)
        with running(WITNESS, "epoll", description, "0", prefix=place.prefix) as server:
            port = first(server, "port")["port"]
            report = reported(server, "fe80::7%wire0", port, place.prefix)
    assert report["peer"] == report["host"] == report["built_with"]
    assert report["peer"] == ["IPv6Address", "fe80::7%wire0"]
    assert report["logstr"].endswith(",fe80::7%wire0")


@needs_root
def test_an_interface_with_a_zone_id_is_listened_on() -> None:
    with namespace() as place:
        add_link_local(place)
        description = r"dualstack:0:interface=fe80\:\:7%wire0"
        with running(WITNESS, "epoll", description, "0", prefix=place.prefix) as server:
            announced = first(server, "port")
            assert announced["host"] == ["IPv6Address", "fe80::7%wire0"]
            report = reported(server, "fe80::7%wire0", announced["port"], place.prefix)
    assert report["host"] == ["IPv6Address", "fe80::7%wire0"]


@pytest.mark.parametrize(
    ("denial", "reason"),
    [
        (f"--deny-family={AF_INET6}=EAFNOSUPPORT", "Address family not supported by protocol"),
        (f"--deny-family={AF_INET6}=EPERM", "Operation not permitted"),
        (
            f"--deny-option={int(socket.IPPROTO_IPV6)},{socket.IPV6_V6ONLY}=EINVAL",
            "IPV6_V6ONLY can't be cleared (Invalid argument)",
        ),
        (
            f"--deny-option={int(socket.IPPROTO_IPV6)},{socket.IPV6_V6ONLY}=ENOPROTOOPT",
            "IPV6_V6ONLY can't be cleared (Protocol not available)",
        ),
    ],
)
def test_where_dual_stack_is_impossible_the_error_has_reason_and_remedy(
    denial: str, reason: str
) -> None:
    description = "dualstack:0:fallback=fail"
    with running(WITNESS, "epoll", description, "0", prefix=without(denial)) as server:
        event = first(server, "refused")
    assert f"this machine has no dual-stack sockets: {reason}" in event["refused"]
    assert "listen on interface '0.0.0.0' for IPv4 only" in event["refused"]


def test_the_remedy_works_where_IPv6_is_denied() -> None:
    denial = f"--deny-family={AF_INET6}=EAFNOSUPPORT"
    description = "dualstack:0:interface=0.0.0.0"
    with running(WITNESS, "epoll", description, "0", prefix=without(denial)) as server:
        port = first(server, "port")["port"]
        assert reported(server, "127.0.0.1", port)["peer"] == ["IPv4Address", "127.0.0.1"]


@pytest.mark.parametrize("interface", ["", "localhost"])
@pytest.mark.parametrize("fallback", FALLBACKS)
def test_where_neither_family_can_be_had_the_error_says_so(interface: str, fallback: str) -> None:
    denials = [f"--deny-family={family}=EAFNOSUPPORT" for family in (AF_INET, AF_INET6)]
    arguments = f"{interface!r}, 0, fallback={fallback!r}"
    program = (
        "from dsadapter.policy import ListenPolicy\n"
        "from dsadapter.sockets.listening import open_listening_sockets\n"
        f"try: open_listening_sockets(ListenPolicy({arguments}))\n"
        "except OSError as error: print(type(error).__name__, error.errno, error.strerror)\n"
    )
    with running_command([*without(*denials), sys.executable, "-c", program]) as python:
        python.process.wait(timeout=60)
        said = python.stop()
    if interface:
        assert said.startswith("AddressFamilyError 97 this machine has no IPv6 sockets")
    else:
        assert said.startswith("NotDualStackError 97 this machine has no dual-stack sockets")
        assert "it has neither IPv4 nor IPv6 sockets" in said
    if fallback not in ("auto", "fail", "pair" if interface else "fail"):
        assert f"fallback={fallback} fails, too" in said


SERVED = {"ipv4": ["127.0.0.1"], "ipv6": ["::1"], "pair": ["127.0.0.1", "::1"]}
UNREACHABLE = {"ipv4": "::1", "ipv6": "127.0.0.1"}


@pytest.mark.parametrize(
    ("options", "denial", "mode", "reason"),
    [
        ("", NO_IPV6, "ipv4", "Address family not supported by protocol"),
        ("", NO_IPV6_BY_A_SANDBOX, "ipv4", "Operation not permitted"),
        ("", NO_OPTION, "ipv4", "IPV6_V6ONLY can't be cleared (Invalid argument)"),
        (":fallback=ipv4", NO_IPV6, "ipv4", "Address family not supported by protocol"),
        (":interface=localhost", NO_IPV6, "ipv4", "Address family not supported by protocol"),
        (":interface=localhost", NO_IPV4, "ipv6", "Address family not supported by protocol"),
        (
            ":interface=localhost:fallback=ipv6",
            NO_IPV4,
            "ipv6",
            "Address family not supported by protocol",
        ),
    ],
)
def test_a_missing_family_is_fallen_back_from_and_said_in_one_line(
    options: str, denial: str, mode: str, reason: str
) -> None:
    description = f"dualstack:0{options}"
    with running(WITNESS, "epoll", description, "0", prefix=without(denial)) as server:
        warning = first(server, "log")["log"]
        while "can't serve both families" not in warning:
            warning = first(server, "log")["log"]
        announced = first(server, "port")
        assert announced["mode"] == mode
        for host in SERVED[mode]:
            assert reported(server, host, announced["port"])["peer"][1] == host
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((UNREACHABLE[mode], announced["port"]))
    kind = {"ipv4": "IPv4", "ipv6": "IPv6"}[mode]
    hosts = ("127.0.0.1", "[::1]") if "localhost" in options else ("0.0.0.0", "[::]")
    place = f"{hosts[mode == 'ipv6']}:{announced['port']}"
    assert (
        f"listening on {place}, {kind} only, because this machine can't serve both families "
        f"({reason}); choose with fallback=auto|pair|ipv4|ipv6|fail"
    ) in warning


@pytest.mark.parametrize(
    ("options", "denial", "text"),
    [
        (":fallback=pair", NO_IPV6, "fallback=pair fails, too: this machine has no IPv6"),
        (":fallback=ipv6", NO_IPV6, "fallback=ipv6 fails, too: this machine has no IPv6"),
        (":interface=localhost:fallback=pair", NO_IPV6, "this machine has no IPv6 sockets"),
        (":interface=localhost:fallback=fail", NO_IPV6, "this machine has no IPv6 sockets"),
        (":interface=localhost:fallback=fail", NO_IPV4, "this machine has no IPv4 sockets"),
        (":interface=localhost:fallback=ipv4", NO_IPV4, "fallback=ipv4 fails, too"),
        (":interface=127.0.0.1", NO_IPV4, "this machine has no IPv4 sockets"),
        (r":interface=\:\:1", NO_IPV6, "this machine has no IPv6 sockets"),
    ],
)
def test_a_fallback_that_does_not_help_opens_nothing(options: str, denial: str, text: str) -> None:
    description = f"dualstack:0{options}"
    with running(WITNESS, "epoll", description, "0", prefix=without(denial)) as server:
        assert text in first(server, "refused")["refused"]


@needs_root
@pytest.mark.parametrize("fallback", ["auto", "pair", "ipv4", "ipv6", "fail"])
def test_a_held_port_is_an_error_whatever_the_fallback(fallback: str) -> None:
    description = f"dualstack:80:interface=localhost:fallback={fallback}"
    with namespace() as place:
        hold = (
            "import socket,sys; s = socket.create_server(('127.0.0.1', 80)); print('{}', flush=1);"
        )
        with running_command(
            [*place.prefix, sys.executable, "-c", f"{hold} sys.stdin.read()"]
        ) as holder:
            assert holder.event() == {}
            with running(WITNESS, "epoll", description, "0", prefix=place.prefix) as server:
                assert (
                    "127.0.0.1:80 is held by another socket" in first(server, "refused")["refused"]
                )


@needs_root
def test_IPv6_switched_off_leaves_localhost_its_IPv4_half() -> None:
    with namespace() as place:
        switch_off_ipv6(place)
        description = "dualstack:0:interface=localhost"
        with running(WITNESS, "epoll", description, "0", prefix=place.prefix) as server:
            announced = first(server, "port")
            assert announced["mode"] == "ipv4"
            assert announced["host"] == ["IPv4Address", "127.0.0.1"]
            report = reported(server, "127.0.0.1", announced["port"], place.prefix)
            assert report["peer"] == ["IPv4Address", "127.0.0.1"]


@needs_root
def test_localhost_is_not_reachable_on_another_address() -> None:
    with namespace() as place:
        place.add_addresses("lo", "192.0.2.7/32", "2001:db8::7/128")
        connect = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])))"
        description = "dualstack:0:interface=localhost"
        with running(WITNESS, "epoll", description, "0", prefix=place.prefix) as server:
            port = str(first(server, "port")["port"])
            place.run(sys.executable, "-c", connect, "127.0.0.1", port)
            place.run(sys.executable, "-c", connect, "::1", port)
            for elsewhere in ("192.0.2.7", "2001:db8::7"):
                with pytest.raises(AssertionError, match="ConnectionRefusedError"):
                    place.run(sys.executable, "-c", connect, elsewhere, port)


def test_denied_IPv4_sockets_do_not_stop_IPv4_through_the_dual_stack_socket() -> None:
    denial = f"--deny-family={AF_INET}=EAFNOSUPPORT"
    with running(WITNESS, "epoll", "dualstack:0", "0", prefix=without(denial)) as server:
        port = first(server, "port")["port"]
        assert reported(server, "127.0.0.1", port)["peer"] == ["IPv4Address", "127.0.0.1"]
        assert os.path.exists(f"/proc/{server.process.pid}")
